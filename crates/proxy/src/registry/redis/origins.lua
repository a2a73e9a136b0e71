-- All origins. KEYS: origins, drained (sorted sets by the time they expire at, ms). ARGV: prefix of records, how many at most.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local poisoned = 0
for _, set in ipairs(KEYS) do
  local pruned = redis.pcall('ZREMRANGEBYSCORE', set, '-inf', now)
  if type(pruned) == 'table' then
    -- Not a sorted set: nobody of us wrote it.
    redis.call('DEL', set)
    poisoned = poisoned + 1
  end
end
local records, left = {}, {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, ARGV[2] - 1)) do
  local record = redis.pcall('GET', ARGV[1] .. id)
  if type(record) == 'string' then
    records[#records + 1] = record
    left[#left + 1] = redis.call('PTTL', ARGV[1] .. id)
  elseif type(record) == 'table' then
    poisoned = poisoned + 1
  end
end
return { poisoned, records, left, redis.call('ZRANGE', KEYS[2], 0, ARGV[2] - 1) }
