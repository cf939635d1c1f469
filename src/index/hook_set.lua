-- A batch's webhook is due after a pause, or not any more.
-- in:  KEYS due
--      ARGV id, pause (ms; -1: not any more), prefix of the batches' keys,
--           its receiver ("": as before)
-- out: {0}; {1}: it was not due at all

--#include int clock

local due, b = KEYS[1], ARGV[3] .. ARGV[1]

if ARGV[2] == '-1' then
    redis.pcall('HDEL', b, 'hook')
    return {1 - redis.call('ZREM', due, ARGV[1])}
end

if not redis.call('ZSCORE', due, ARGV[1]) then
    return {1}
end

redis.call('ZADD', due, int(clock() + tonumber(ARGV[2])), ARGV[1])

if ARGV[4] ~= '' and redis.call('EXISTS', b) == 1 then
    redis.pcall('HSET', b, 'hook', ARGV[4])
end

return {0}
