-- Keeps a session unless it has ended. KEYS: the session, its pairs. ARGV: its record, its id, ms it lasts.
if redis.pcall('GET', KEYS[1]) == 'ended' then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
for i = 2, #KEYS do
  redis.call('SET', KEYS[i], ARGV[2], 'PX', ARGV[3])
end
return 1
