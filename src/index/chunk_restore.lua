-- What the disk says of a chunk: never lowers an epoch or a count, and a lease
-- of the same epoch goes on.
-- in:  KEYS batch, chunks, leases
--      ARGV chunk, epoch, done (1 or 0), ok, failed, of its seal (seconds)
-- out: {0, status}; {1}: no such batch

--#include int status record save count

local b, c, l = KEYS[1], KEYS[2], KEYS[3]
local chunk = ARGV[1]

local h = redis.call('HMGET', b, 'status', 'sealed')
local status = h[1]

redis.call('ZCARD', l)

if not status then
    return {1}
end

if not live(status) then
    return {0, status}
end

local r = record(c, chunk) or untouched()
local was = r.state
local higher = tonumber(ARGV[2]) > tonumber(r.epoch)

if higher then
    r.epoch, r.owner, r.nonce = ARGV[2], '', ''
end

if was == 'd' or ARGV[3] == '1' then
    r.state = 'd'
elseif higher then
    r.state = 'f'
end

redis.call('HDEL', b, '-')
count(b, c, chunk, r, ARGV[4], ARGV[5])

if r.state == 'f' then
    redis.call('ZADD', l, '0', chunk)

elseif r.state == 'd' and was ~= 'd' then
    redis.call('ZREM', l, chunk)
    redis.call('HINCRBY', b, 'done', '1')
    redis.call('HSET', b, 'sealed',
               int(math.max(tonumber(h[2] or '') or 0, tonumber(ARGV[6]))))
end

return {0, status}
