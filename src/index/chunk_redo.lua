-- The seal of the chunk is void: it runs again.  Clients go on seeing
-- finalizing (finalizing_at stays), and its counts stay as they were.
-- in:  KEYS batch, chunks, leases
--      ARGV chunk
-- out: {0, status}; {1}: no such batch

--#include int record save status

local b, c, l = KEYS[1], KEYS[2], KEYS[3]
local chunk = ARGV[1]

local h = redis.call('HMGET', b, 'status', 'expired')
local status = h[1]

redis.call('ZCARD', l)

if not status then
    return {1}
end

if h[2] == '1' or (status ~= 'finalizing' and status ~= 'in_progress') then
    return {0, status}
end

local r = record(c, chunk) or untouched()

if r.state == 'r' then
    return {0, status}
end

local was = r.state

r.owner, r.nonce, r.state = '', '', 'f'

redis.call('HDEL', b, 'funtil', 'fowner', 'fnonce')
save(c, chunk, r)
redis.call('ZADD', l, '0', chunk)

if was == 'd' then
    redis.call('HINCRBY', b, 'done', '-1')
end

return {0, reopen(b, status)}
