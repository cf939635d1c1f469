-- A file's manifest, its places in the lists, and its bytes; repeating changes
-- nothing.
-- in:  KEYS gen, file, list, list of the purpose, expiry list, use, holds,
--           lock, mark of its deletion
--      ARGV worker that fills the index and has its lock ("": none, check gen),
--           id, manifest, created_us, expires_at (0: never), bytes, upload that
--           became the file ("": none)
-- out: {0}; {1}: the lock is another's; {2}: the index is being rebuilt

--#include gen int use unuse

local u, h = KEYS[6], KEYS[7]

if ARGV[1] == '' then
    if not filled() then
        return {2}
    end

-- a worker that was stopped for longer than its lock lived may have read the
-- manifest of what has been deleted since

elseif string.match(redis.call('GET', KEYS[8]) or '', '^([^ ]+) ') ~= ARGV[1]
then
    return {1}
end

-- a key of another type fails here, before anything is written
for i = 3, 5 do
    redis.call('ZCARD', KEYS[i])
end

redis.call('ZCARD', h)
redis.call('HLEN', u)

-- A rebuild may show a file whose upload is not answered yet: it has been
-- deleted before this comes, and holds no place any more.

if ARGV[1] == '' and redis.call('EXISTS', KEYS[9]) == 1 then
    for _, id in ipairs({ARGV[2], ARGV[7]}) do
        unuse(u, id)
        redis.call('ZREM', h, id)
    end

    return {0}
end

redis.call('SET', KEYS[2], ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[2])
redis.call('ZADD', KEYS[4], ARGV[4], ARGV[2])

if ARGV[5] ~= '0' then
    redis.call('ZADD', KEYS[5], ARGV[5], ARGV[2])
end

if ARGV[7] ~= '' and unuse(u, ARGV[7]) then
    redis.call('ZREM', h, ARGV[7])
end

redis.call('ZREM', h, ARGV[2])
use(u, ARGV[2], ARGV[6])

return {0}
