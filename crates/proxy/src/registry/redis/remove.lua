-- An origin said goodbye. KEYS: its record, the origins, those drained. ARGV: its id.
redis.call('DEL', KEYS[1])
redis.pcall('ZREM', KEYS[2], ARGV[1])
redis.pcall('ZREM', KEYS[3], ARGV[1])
return 0
