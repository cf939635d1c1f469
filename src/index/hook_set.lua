-- A batch's webhook is due after a pause, or not any more.
-- in:  KEYS due
--      ARGV id, pause (ms; -1: not any more)
-- out: {0}; {1}: it was not due at all

--#include int clock

local due = KEYS[1]

if ARGV[2] == '-1' then
    return {1 - redis.call('ZREM', due, ARGV[1])}
end

if not redis.call('ZSCORE', due, ARGV[1]) then
    return {1}
end

redis.call('ZADD', due, int(clock() + tonumber(ARGV[2])), ARGV[1])

return {0}
