-- cancel.json is on disk already.  A terminal batch stays as it is, and so does
-- the time of an earlier cancel.  Who fills the index ends with this what it has
-- to say of a batch, cancelled or not: clients may have seen it finalizing, and
-- must not see it in progress again until somebody claims it.
-- in:  KEYS gen, batch
--      ARGV check gen (1 or 0), at (seconds; 0: it was not cancelled)
-- out: {0, view as in batch_get}; {1}: no such batch; {2}: being rebuilt

local b = KEYS[2]
local status = redis.call('HGET', b, 'status')
local busy = ARGV[1] == '1' and redis.call('EXISTS', KEYS[1]) == 0

if not status then
    return {busy and 2 or 1}
end

if status == 'validating' or status == 'in_progress'
   or status == 'finalizing'
then
    local cancelled, to = tonumber(ARGV[2]), 'finalizing'
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
        by = tonumber(redis.call('TIME')[1])
    end

    -- a script whose first write frees memory is let through when Redis is full
    redis.call('HDEL', b, '-')

    if cancelled > 0 then
        by, to, expired = cancelled, 'cancelling', '0'
        redis.call('HSET', b, 'status', to, 'cancelling_at', ARGV[2])
    end

    if at <= by and at < math.huge then
        redis.call('HSETNX', b, 'finalizing_at', string.format('%.0f',
                   math.max(at, h[5])))

        if status ~= 'finalizing' then
            redis.call('HSET', b, 'status', to)

            if expired == '1' then
                redis.call('HSET', b, 'expired', '1')
            end
        end
    end
end

-- whoever rebuilds may have passed this batch before it was cancelled

if busy then
    return {2}
end

return {0, redis.call('HMGET', b, 'meta', 'final', 'status',
                      'in_progress_at', 'finalizing_at', 'cancelling_at',
                      'total', 'ok', 'failed', 'model')}
