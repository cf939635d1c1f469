-- Gives a held place back.  What was published meanwhile keeps its place.
-- in:  KEYS use, holds
--      ARGV id
-- out: {0}; {1}: it is not held

if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then
    return {1}
end

local n = redis.call('HGET', KEYS[1], ARGV[1])

if n then
    redis.call('HDEL', KEYS[1], ARGV[1])
    redis.call('HINCRBY', KEYS[1], 'sum',
               string.format('%.0f', 0 - tonumber(n)))
end

return {0}
