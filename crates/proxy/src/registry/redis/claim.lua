-- Claims a stream: the first wins, and `from`, if there is one, is as good as nobody. KEYS: the stream. ARGV: from, wanted,
-- token, ms it lasts.
local holder, mark, poisoned = held(redis.pcall('GET', KEYS[1]))
if not holder or holder == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[3], 'PX', ARGV[4])
  return { poisoned, ARGV[2], 1 }
end
if mark ~= '' and mark ~= '!' then
  redis.call('SET', KEYS[1], holder, 'PX', ARGV[4])
end
return { poisoned, holder, 0 }
