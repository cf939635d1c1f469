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
end

-- whoever rebuilds may have passed this batch before it was cancelled

if busy then
    return {2}
end

return {0, redis.call('HMGET', KEYS[2], 'meta', 'final', 'status',
                      'in_progress_at', 'finalizing_at', 'cancelling_at',
                      'total', 'ok', 'failed', 'model')}
