-- A new batch, or one that is there already: then only its places in the lists
-- are made good.
-- in:  KEYS gen, batch, list, active, use, holds, mark of its deletion
--      ARGV check gen (1 or 0), id, meta, created_us, expires_at (0: never)
-- out: {0, status}; {1}: it has been deleted since; {2}: being rebuilt

--#include gen status

if ARGV[1] == '1' and not filled() then
    return {2}
end

if redis.call('EXISTS', KEYS[7]) == 1 then
    return {1}
end

local status = redis.call('HGET', KEYS[2], 'status')

redis.call('ZCARD', KEYS[3])
redis.call('ZCARD', KEYS[4])
redis.call('HLEN', KEYS[5])
redis.call('ZCARD', KEYS[6])

if not status then
    redis.call('HSET', KEYS[2], 'meta', ARGV[3], 'expires_at', ARGV[5],
               'total', '0', 'ok', '0', 'failed', '0')
    status = move(KEYS[2], '', 'validating')
end

redis.call('ZADD', KEYS[3], ARGV[4], ARGV[2])

if not terminal(status) then
    redis.call('ZADD', KEYS[4], ARGV[4], ARGV[2])
    redis.call('ZREM', KEYS[6], ARGV[2])

    -- as its list is named
    redis.call('HSET', KEYS[2], 'tenant', string.match(KEYS[3], '[^:]*$'))

    -- one line until its lines are counted
    if redis.call('HSETNX', KEYS[5], ARGV[2], '1') == 1 then
        redis.call('HINCRBY', KEYS[5], 'sum', '1')
    end
end

return {0, status}
