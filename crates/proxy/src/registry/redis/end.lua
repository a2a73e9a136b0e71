-- Sessions have ended: nobody brings them back while that is remembered. KEYS: the sessions. ARGV: ms that lasts.
for _, key in ipairs(KEYS) do
  redis.call('SET', key, 'ended', 'PX', ARGV[1])
end
return 0
