-- cancel.json is on disk already.  A terminal batch stays as it is, and so does
-- the time of an earlier cancel.  A rebuild ends with this what it has to say
-- of a batch, cancelled or not: clients may have seen it finalizing, and must
-- not see it in progress again until a worker claims it.
-- in:  KEYS gen, batch
--      ARGV check gen (1 or 0), at (seconds; 0: it was not cancelled)
-- out: {0, view}; {1}: no such batch; {2}: being rebuilt

--#include gen int clock status view

local b = KEYS[2]
local status = redis.call('HGET', b, 'status')
local busy = ARGV[1] == '1' and not filled()

if not status then
    return {busy and 2 or 1}
end

if live(status) and status ~= 'cancelling' then
    local cancelled = tonumber(ARGV[2])
    local h = redis.call('HMGET', b, 'chunks', 'done', 'sealed', 'expires_at',
                         'in_progress_at')

    for i = 1, 5 do
        h[i] = tonumber(h[i] or '') or 0
    end

    -- when it began to be finalized, as in claim.lua

    local at, by, expired = math.huge, math.huge, '0'

    if h[1] > 0 and h[2] >= h[1] then
        at = h[3]
    end

    if h[4] > 0 and at >= h[4] then
        at, expired = h[4], '1'
        by = select(2, clock())
    end

    -- a script whose first write frees memory is let through when Redis is full
    redis.call('HDEL', b, '-')

    if cancelled > 0 then
        by = cancelled
        move(b, status, 'cancelling', ARGV[2])
    end

    if at <= by and at < math.huge then
        at = int(math.max(at, h[5]))

        if cancelled > 0 or status == 'finalizing' then
            redis.call('HSETNX', b, 'finalizing_at', at)

        else
            move(b, status, 'finalizing', at)

            if expired == '1' then
                redis.call('HSET', b, 'expired', '1')
            end
        end
    end
end

-- a rebuild may have passed this batch before it was cancelled

if busy then
    return {2}
end

return {0, view(b)}
