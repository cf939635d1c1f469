-- Gives a held place back.  What was published meanwhile keeps its place.
-- in:  KEYS use, holds
--      ARGV id
-- out: {0}; {1}: it is not held

--#include int unuse

if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then
    return {1}
end

unuse(KEYS[1], ARGV[1])

return {0}
