-- What a tenant uses: id -> bytes or lines, and their sum.  Takes a place for
-- what is about to be published, if the limits allow it; a place that is never
-- filled is free again when its time is over.  An id that is there already
-- only changes its amount.
-- in:  KEYS gen, use, holds
--      ARGV id ("": nothing is taken), amount, limit of the sum, limit of the
--           number (0: none), hold (ms; 0: only an id that is there changes)
-- out: {0, 0, sum}; {1, 1, sum}: the sum would be over its limit;
--      {1, 2, number}: so would the number; {2}: being rebuilt

--#include gen int clock

local u, h = KEYS[2], KEYS[3]
local id, hold = ARGV[1], tonumber(ARGV[5])

if not filled() then
    return {2}
end

local now = clock()
local late = redis.call('ZRANGEBYSCORE', h, '-inf', int(now))
local sum = tonumber(redis.call('HGET', u, 'sum') or '0')

for _, old in ipairs(late) do
    sum = sum - tonumber(redis.call('HGET', u, old) or '0')
    redis.call('HDEL', u, old)
    redis.call('ZREM', h, old)
end

if #late > 0 then
    redis.call('HSET', u, 'sum', int(sum))
end

local number = math.max(redis.call('HLEN', u) - 1, 0)
local was = id ~= '' and redis.call('HGET', u, id)
local grows = tonumber(ARGV[2]) - tonumber(was or '0')
local max_sum, max_number = tonumber(ARGV[3]), tonumber(ARGV[4])

if not was and max_number > 0 and number >= max_number then
    return {1, 2, int(number)}
end

if grows > 0 and max_sum > 0 and sum + grows > max_sum then
    return {1, 1, int(sum)}
end

if id ~= '' and (was or hold > 0) then
    sum = sum + grows
    redis.call('HSET', u, id, ARGV[2], 'sum', int(sum))

    if hold > 0 and (not was or redis.call('ZSCORE', h, id)) then
        local ends = math.max(now + hold,
                              tonumber(redis.call('ZSCORE', h, id) or '0'))
        redis.call('ZADD', h, int(ends), id)
    end
end

return {0, 0, int(sum)}
