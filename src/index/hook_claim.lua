-- Batches whose webhook is due: they are due again when the lease ends, unless
-- hook_set says otherwise.  What is further away than any pause was put off
-- before the clock was set back.
-- in:  KEYS gen, due
--      ARGV number, lease (ms), longest pause (ms)
-- out: {0, how many are not delivered yet, {id, ...}}; {2}: being rebuilt

--#include gen int clock

local due = KEYS[2]

if not filled() then
    return {2}
end

local now = clock()
local n = tonumber(ARGV[1])

local ids = redis.call('ZRANGEBYSCORE', due, '-inf', int(now), 'LIMIT', '0',
                       ARGV[1])

if #ids < n then
    local far = '(' .. int(now + tonumber(ARGV[3]))

    for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, far, '+inf', 'LIMIT',
                                   '0', tostring(n - #ids))) do
        ids[#ids + 1] = id
    end
end

for _, id in ipairs(ids) do
    redis.call('ZADD', due, int(now + tonumber(ARGV[2])), id)
end

return {0, redis.call('ZCARD', due), ids}
