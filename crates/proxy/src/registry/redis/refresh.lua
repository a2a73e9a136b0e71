-- Makes sessions last on. KEYS: of each the session, then its pairs. ARGV: ms they last, then how many keys each has.
-- Says of each 0 it is kept, 1 it is missing, 2 it has ended.
local what, key = {}, 1
for i = 2, #ARGV do
  local many = tonumber(ARGV[i])
  local value = redis.pcall('GET', KEYS[key])
  if value == 'ended' then
    what[#what + 1] = 2
  else
    local missing = type(value) == 'string' and 0 or 1
    for k = key, key + many - 1 do
      if redis.call('PEXPIRE', KEYS[k], ARGV[1]) == 0 then
        missing = 1
      end
    end
    what[#what + 1] = missing
  end
  key = key + many
end
return what
