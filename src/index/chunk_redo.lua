-- The seal of the chunk is void: it runs again.  Clients go on seeing
-- finalizing (finalizing_at stays), and its counts stay as they were.
-- in:  KEYS batch, chunks, leases
--      ARGV chunk
-- out: {0, status}; {1}: no such batch

local b, c, l = KEYS[1], KEYS[2], KEYS[3]
local chunk = ARGV[1]

local h = redis.call('HMGET', b, 'status', 'expired')
local s = redis.call('HGET', c, chunk)
local status = h[1]

redis.call('ZCARD', l)

if not status then
    return {1}
end

if h[2] == '1' or (status ~= 'finalizing' and status ~= 'in_progress') then
    return {0, status}
end

local epoch, ok, failed, state =
    string.match(s or '0:::0:0:f', '^(%d+):[^:]*:[^:]*:(%d+):(%d+):([rfd])$')

if not epoch then
    return redis.error_reply('ERR chunk record of the batch index is damaged')
end

if state == 'r' then
    return {0, status}
end

redis.call('HDEL', b, 'funtil', 'fowner', 'fnonce')
redis.call('HSET', c, chunk, table.concat({epoch, '', '', ok, failed, 'f'},
                                          ':'))
redis.call('ZADD', l, '0', chunk)

if state == 'd' then
    redis.call('HINCRBY', b, 'done', '-1')
end

redis.call('HSET', b, 'status', 'in_progress')

return {0, 'in_progress'}
