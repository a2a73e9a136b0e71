-- Takes back a claim that nobody else has seen. KEYS: the stream. ARGV: the claim as it was made, who gets it back or '', ms it
-- lasts.
if redis.pcall('GET', KEYS[1]) == ARGV[1] then
  if ARGV[2] == '' then
    redis.call('DEL', KEYS[1])
  else
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  end
end
return 0
