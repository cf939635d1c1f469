-- An upload has ended: it holds no place any more, and parts that are still
-- coming take none.
-- in:  KEYS use, holds, parts
--      ARGV upload, for how long that is remembered (ms)
-- out: {0}

--#include int unuse

if redis.call('ZREM', KEYS[2], ARGV[1]) == 1 then
    unuse(KEYS[1], ARGV[1])
end

redis.call('SET', KEYS[3], 'ended', 'PX', ARGV[2])

return {0}
