-- The tombstone is on disk already, so this asks for no gen.
-- in:  KEYS file, list, list of the purpose, expiry list
--      ARGV id
-- out: {0}; {1}: it was not there

local found = redis.call('DEL', KEYS[1])

for i = 2, 4 do
    redis.call('ZREM', KEYS[i], ARGV[1])
end

return {1 - found}
