-- Origins have these streams: renews their claims, and makes those that nobody has, that led to nothing yet, or that nobody has
-- renewed for long. KEYS: streams. ARGV: ms claims last, ms that are left of a stale one, then the origin of each.
local holders, poisoned = {}, 0
for i, key in ipairs(KEYS) do
  local holder, mark, bad = held(redis.pcall('GET', key))
  poisoned = poisoned + bad
  if mark ~= '!' or holder == ARGV[i + 2] or redis.call('PTTL', key) <= tonumber(ARGV[2]) then
    holder = ARGV[i + 2]
    redis.call('SET', key, holder .. ' !', 'PX', ARGV[1])
  end
  holders[i] = holder
end
return { poisoned, holders }
