-- A file's manifest and its places in the lists; repeating changes nothing.
-- in:  KEYS gen, file, list, list of the purpose, expiry list
--      ARGV check gen (1 or 0), id, manifest, created_us, expires_at (0: never)
-- out: {0}; {2}: the index is being rebuilt

if ARGV[1] == '1' and redis.call('EXISTS', KEYS[1]) == 0 then
    return {2}
end

-- a key of another type fails here, before anything is written
for i = 3, 5 do
    redis.call('ZCARD', KEYS[i])
end

redis.call('SET', KEYS[2], ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[2])
redis.call('ZADD', KEYS[4], ARGV[4], ARGV[2])

if ARGV[5] ~= '0' then
    redis.call('ZADD', KEYS[5], ARGV[5], ARGV[2])
end

return {0}
