-- final.json is durable: terminal status, counts and files in one step.  A
-- batch that is terminal already stays as it is, its files too: the client may
-- have deleted them since.  An unknown batch (recovery) is made.
-- in:  KEYS batch, list, active, chunks, leases, expiry list of files,
--           use of files, use of batches, holds of batches, webhooks due,
--           ended batches, those beyond the quota, the tenant's ended ones,
--           mark of its deletion, then per file: file, list, list of the purpose
--      ARGV id, status, final, meta, created_us, expires_at, total, ok, failed,
--           model, in_progress_at, finalizing_at, cancelling_at (0: null),
--           receiver of its webhook, which is due if it is not known to be
--           later (0: it is not),
--           ended_at (seconds), how many ended ones the tenant keeps (0: all),
--           then per file: id, manifest, created_us, expires_at (0: never),
--           bytes
-- out: {0, status}; {1}: it has been deleted since

--#include int clock use unuse status

local b = KEYS[1]
local status = redis.call('HGET', b, 'status') or ''

local kinds = {'hash', 'zset', 'zset', 'hash', 'zset', 'zset',
               'hash', 'hash', 'zset', 'zset', 'zset', 'zset', 'zset',
               'string'}

for i = 2, #KEYS do
    local kind = redis.call('TYPE', KEYS[i]).ok

    -- of a file's three keys the first is a string
    if kind ~= 'none' and i ~= 4
       and kind ~= (kinds[i] or i % 3 == 0 and 'string' or 'zset')
    then
        return redis.error_reply('WRONGTYPE key of the batch index')
    end
end

if redis.call('EXISTS', KEYS[14]) == 1 then
    return {1}
end

-- first: a script that begins by freeing is let through when Redis is full
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[4], KEYS[5])
redis.call('ZREM', KEYS[9], ARGV[1])

unuse(KEYS[8], ARGV[1])

if ARGV[14] ~= '0' then
    redis.call('ZADD', KEYS[10], 'NX', int(clock()), ARGV[1])
    redis.call('HSET', b, 'hook', ARGV[14])
end

redis.call('ZADD', KEYS[11], 'NX', ARGV[15], ARGV[1])
redis.call('ZADD', KEYS[13], 'NX', ARGV[15], ARGV[1])

-- beyond its quota the oldest go; the rest of many with the next end

local keep = tonumber(ARGV[16])
local over = redis.call('ZCARD', KEYS[13]) - keep

if keep > 0 and over > 0 then
    local now = int(select(2, clock()))

    for _, id in ipairs(redis.call('ZRANGE', KEYS[13], 0,
                                   int(math.min(over, 100) - 1))) do
        redis.call('ZADD', KEYS[12], 'NX', now, id)
        redis.call('ZREM', KEYS[13], id)
    end
end

if terminal(status) then

    -- older modules kept all errors

    if redis.call('HSTRLEN', b, 'final') > #ARGV[3] then
        redis.call('HSET', b, 'final', ARGV[3])
    end

    return {0, status}
end

redis.call('HDEL', b, 'vepoch', 'vowner', 'vnonce', 'vuntil', 'fepoch',
           'fowner', 'fnonce', 'funtil', 'next', 'done', 'chunks', 'sealed',
           'tenant')

for i = 0, (#KEYS - 14) / 3 - 1 do
    local k, a = 15 + i * 3, 17 + i * 5

    redis.call('SET', KEYS[k], ARGV[a + 1])
    redis.call('ZADD', KEYS[k + 1], ARGV[a + 2], ARGV[a])
    redis.call('ZADD', KEYS[k + 2], ARGV[a + 2], ARGV[a])

    if ARGV[a + 3] ~= '0' then
        redis.call('ZADD', KEYS[6], ARGV[a + 3], ARGV[a])
    end

    use(KEYS[7], ARGV[a], ARGV[a + 4])
end

for i, name in ipairs({'in_progress_at', 'finalizing_at', 'cancelling_at'}) do
    if ARGV[10 + i] ~= '0' then
        redis.call('HSET', b, name, ARGV[10 + i])
    end
end

redis.call('HSET', b, 'meta', ARGV[4], 'expires_at', ARGV[6],
           'total', ARGV[7], 'ok', ARGV[8], 'failed', ARGV[9],
           'model', ARGV[10], 'final', ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[5], ARGV[1])

return {0, finish(b, status, ARGV[2])}
