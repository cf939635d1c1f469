-- The lock of the worker that rebuilds: "owner deadline".  It only saves work.
-- A deadline that no lease can have comes from a clock that has been set back.
-- in:  KEYS lock
--      ARGV owner, lease (ms), take, renew or free
-- out: {0}; {1}: another one has it (renew, free: or none)

--#include int clock

local now = clock()
local lease = tonumber(ARGV[2])
local owner, deadline = string.match(redis.call('GET', KEYS[1]) or '',
                                     '^([^ ]+) (%d+)$')

deadline = tonumber(deadline) or 0

if owner ~= ARGV[1]
   and (ARGV[3] ~= 'take' or (deadline > now and deadline <= now + 2 * lease))
then
    return {1}
end

if ARGV[3] == 'free' then
    redis.call('DEL', KEYS[1])
    return {0}
end

-- the deadline is what counts; that of a server's time that is over has no
-- owner who frees it, and goes some day

redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. int(now + lease), 'EX', '86400')

return {0}
