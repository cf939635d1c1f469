-- cancel.json is on disk already.  A terminal batch stays as it is, and so does
-- the time of an earlier cancel.
-- in:  KEYS gen, batch
--      ARGV check gen (1 or 0), at (seconds)
-- out: {0, view as in batch_get}; {1}: no such batch; {2}: being rebuilt

local status = redis.call('HGET', KEYS[2], 'status')
local busy = ARGV[1] == '1' and redis.call('EXISTS', KEYS[1]) == 0

if not status then
    return {busy and 2 or 1}
end

if status == 'validating' or status == 'in_progress'
   or status == 'finalizing'
then
    -- a script whose first write frees memory is let through when Redis is full
    redis.call('HDEL', KEYS[2], '-')
    redis.call('HSET', KEYS[2], 'status', 'cancelling',
               'cancelling_at', ARGV[2])

    -- who fills the index finds the cancel of what was finalizing before

    local h = redis.call('HMGET', KEYS[2], 'chunks', 'done', 'sealed',
                         'expires_at', 'in_progress_at')

    for i = 1, 5 do
        h[i] = tonumber(h[i] or '') or 0
    end

    local at = h[1] > 0 and h[2] >= h[1] and h[3] or math.huge

    if h[4] > 0 then
        at = math.min(at, h[4])
    end

    if at <= tonumber(ARGV[2]) then
        redis.call('HSETNX', KEYS[2], 'finalizing_at', string.format('%.0f',
                   math.max(at, h[5])))
    end
end

-- whoever rebuilds may have passed this batch before it was cancelled

if busy then
    return {2}
end

return {0, redis.call('HMGET', KEYS[2], 'meta', 'final', 'status',
                      'in_progress_at', 'finalizing_at', 'cancelling_at',
                      'total', 'ok', 'failed', 'model')}
