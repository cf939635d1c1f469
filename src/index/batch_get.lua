-- in:  KEYS gen, batch
-- out: {0, {meta, final, status, in_progress_at, finalizing_at, cancelling_at,
--      total, ok, failed, model}}; {1}: no such batch; {2}: being rebuilt

if redis.call('EXISTS', KEYS[1]) == 0 then
    return {2}
end

local view = redis.call('HMGET', KEYS[2], 'meta', 'final', 'status',
                        'in_progress_at', 'finalizing_at', 'cancelling_at',
                        'total', 'ok', 'failed', 'model')

if not view[1] then
    return {1}
end

return {0, view}
