-- The session of a pair. KEYS: the pair. ARGV: prefix of sessions. Says how many values were poisoned, and the record or ''.
local id = redis.pcall('GET', KEYS[1])
if not id then
  return { 0, '' }
end
if type(id) ~= 'string' or #id ~= 32 or not string.match(id, '^%x+$') then
  return { 1, '' }
end
local record = redis.pcall('GET', ARGV[1] .. id)
if type(record) == 'table' then
  return { 1, '' }
end
return { 0, record or '' }
