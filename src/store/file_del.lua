-- The tombstone is on disk already, so this asks for no gen.
-- in:  KEYS file, list, list of the purpose, expiry list, use
--      ARGV id
-- out: {0}; {1}: it was not there

local found = redis.call('DEL', KEYS[1])

for i = 2, 4 do
    redis.call('ZREM', KEYS[i], ARGV[1])
end

local n = redis.call('HGET', KEYS[5], ARGV[1])

if n then
    redis.call('HDEL', KEYS[5], ARGV[1])
    redis.call('HINCRBY', KEYS[5], 'sum',
               string.format('%.0f', 0 - tonumber(n)))
end

return {1 - found}
