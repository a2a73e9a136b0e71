-- Puts one into a sorted set by the time it expires at. KEYS: the set, and its record if it has one. ARGV: member, ms it
-- lasts, most members, the record. Says how many values were poisoned, and whether there was room.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local poisoned = 0
local pruned = redis.pcall('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if type(pruned) == 'table' then
  redis.call('DEL', KEYS[1])
  poisoned = 1
end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return { poisoned, 0 }
end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
if KEYS[2] then
  redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[2])
end
return { poisoned, 1 }
