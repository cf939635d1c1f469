-- A worker of this node is dead: what it holds of the batch is free at once.
-- in:  KEYS batch, chunks, leases
--      ARGV owner
-- out: {0, status}; {1}: no such batch

local b, c, l = KEYS[1], KEYS[2], KEYS[3]
local owner = ARGV[1]
local h = redis.call('HMGET', b, 'status', 'vowner', 'fowner')

if not h[1] then
    return {1}
end

local mine = {}

for _, chunk in ipairs(redis.call('ZRANGEBYSCORE', l, '(0', '+inf')) do
    local s = redis.call('HGET', c, chunk)

    if s and string.match(s, '^%d+:([^:]*):') == owner then
        mine[#mine + 1] = chunk
    end
end

redis.call('HDEL', b, '-')

for _, chunk in ipairs(mine) do
    redis.call('ZADD', l, '0', chunk)
end

if h[2] == owner then
    redis.call('HDEL', b, 'vuntil')
end

if h[3] == owner then
    redis.call('HDEL', b, 'funtil')
end

return {0, h[1]}
