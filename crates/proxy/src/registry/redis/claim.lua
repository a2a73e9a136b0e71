-- Claims a stream: the first wins, and `from`, if there is one, is as good as nobody. KEYS: the stream. ARGV: from, wanted,
-- token, ms it lasts. A claim is `origin token` until another counts on it, `origin` from then on, `origin !` once the origin
-- has the stream.
local value = redis.pcall('GET', KEYS[1])
local holder, mark
if type(value) == 'string' and #value < 200 then
  local gap
  holder, gap, mark = string.match(value, '^([%w._:%-%[%]]+)( ?)([%x!]*)$')
  if gap == '' and mark ~= '' then
    holder, mark = nil, nil
  end
end
local poisoned = (value and not holder) and 1 or 0
if not holder or holder == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[3], 'PX', ARGV[4])
  return { poisoned, ARGV[2], 1 }
end
if mark ~= '' and mark ~= '!' then
  redis.call('SET', KEYS[1], holder, 'PX', ARGV[4])
end
return { poisoned, holder, 0 }
