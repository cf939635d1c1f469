-- The input is good.  If it was cancelled or expired meanwhile, only the numbers
-- are kept.
-- in:  KEYS batch, use
--      ARGV total, chunks, model, in_progress_at (seconds), id
-- out: {0, status}; {1}: no such batch

local b = KEYS[1]
local h = redis.call('HMGET', b, 'status', 'chunks')
local status = h[1]

if not status then
    return {1}
end

if status ~= 'validating' and status ~= 'in_progress'
   and status ~= 'finalizing' and status ~= 'cancelling'
then
    return {0, status}
end

local was = tonumber(redis.call('HGET', KEYS[2], ARGV[5]) or '0')

redis.call('HDEL', b, 'vuntil', 'vowner', 'vnonce')
redis.call('HSET', KEYS[2], ARGV[5], ARGV[1])
redis.call('HINCRBY', KEYS[2], 'sum',
           string.format('%.0f', tonumber(ARGV[1]) - was))

if not h[2] then
    redis.call('HSET', b, 'total', ARGV[1], 'chunks', ARGV[2],
               'model', ARGV[3], 'next', '0', 'done', '0')
end

if status == 'validating' then
    status = 'in_progress'
    redis.call('HSET', b, 'status', status, 'in_progress_at', ARGV[4])
end

return {0, status}
