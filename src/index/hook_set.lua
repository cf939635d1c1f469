-- A batch's webhook is due after a pause, or not any more.
-- in:  KEYS due
--      ARGV id, pause (ms; -1: not any more)
-- out: {0}; {1}: it was not due at all

local due = KEYS[1]

if ARGV[2] == '-1' then
    return {1 - redis.call('ZREM', due, ARGV[1])}
end

if not redis.call('ZSCORE', due, ARGV[1]) then
    return {1}
end

local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)

redis.call('ZADD', due, string.format('%.0f', now + tonumber(ARGV[2])),
           ARGV[1])

return {0}
