-- A file's manifest, its places in the lists, and its bytes; repeating changes
-- nothing.
-- in:  KEYS gen, file, list, list of the purpose, expiry list, use, holds, lock,
--           mark of its deletion
--      ARGV who fills the index and has its lock ("": nobody, check gen), id,
--           manifest, created_us, expires_at (0: never), bytes, upload that
--           became the file ("": none)
-- out: {0}; {1}: the lock is another's; {2}: the index is being rebuilt

local u, h = KEYS[6], KEYS[7]

if ARGV[1] == '' then
    if redis.call('EXISTS', KEYS[1]) == 0 then
        return {2}
    end

-- who was stopped for longer than its lock lived may have read the manifest of
-- what has been deleted since

elseif string.match(redis.call('GET', KEYS[8]) or '', '^([^ ]+) ') ~= ARGV[1]
then
    return {1}
end

-- a key of another type fails here, before anything is written
for i = 3, 5 do
    redis.call('ZCARD', KEYS[i])
end

redis.call('ZCARD', h)

-- Whoever fills an index may show a file whose upload is not answered yet: it has
-- been deleted before this comes, and holds no place any more.

if ARGV[1] == '' and redis.call('EXISTS', KEYS[9]) == 1 then
    for _, id in ipairs({ARGV[2], ARGV[7]}) do
        local n = redis.call('HGET', u, id)

        if n then
            redis.call('HDEL', u, id)
            redis.call('HINCRBY', u, 'sum',
                       string.format('%.0f', 0 - tonumber(n)))
        end

        redis.call('ZREM', h, id)
    end

    return {0}
end

local was = tonumber(redis.call('HGET', u, ARGV[2]) or '0')
local upload = ARGV[7] ~= '' and redis.call('HGET', u, ARGV[7])

redis.call('SET', KEYS[2], ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[2])
redis.call('ZADD', KEYS[4], ARGV[4], ARGV[2])

if ARGV[5] ~= '0' then
    redis.call('ZADD', KEYS[5], ARGV[5], ARGV[2])
end

if upload then
    redis.call('HDEL', u, ARGV[7])
    redis.call('ZREM', h, ARGV[7])
    was = was + tonumber(upload)
end

redis.call('ZREM', h, ARGV[2])
redis.call('HSET', u, ARGV[2], ARGV[6])
redis.call('HINCRBY', u, 'sum', string.format('%.0f', tonumber(ARGV[6]) - was))

return {0}
