-- The input is good.  If the batch was cancelled or has expired meanwhile, only
-- the numbers are kept.
-- in:  KEYS batch, use
--      ARGV total, chunks, model, in_progress_at (seconds), id
-- out: {0, status}; {1}: no such batch

--#include int use status

local b = KEYS[1]
local h = redis.call('HMGET', b, 'status', 'chunks')
local status = h[1]

if not status then
    return {1}
end

if not live(status) then
    return {0, status}
end

redis.call('HLEN', KEYS[2])

redis.call('HDEL', b, 'vuntil', 'vowner', 'vnonce')
use(KEYS[2], ARGV[5], ARGV[1])

if not h[2] then
    redis.call('HSET', b, 'total', ARGV[1], 'chunks', ARGV[2],
               'model', ARGV[3], 'next', '0', 'done', '0')
end

if status == 'validating' then
    status = move(b, status, 'in_progress', ARGV[4])
end

return {0, status}
