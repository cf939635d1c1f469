-- Opens the index.  Without the lock it was emptied again meanwhile, or took
-- longer than the lock lives: what was filled in may be gone.  The gen of
-- another server's time goes: should the data come back to that one, it is not
-- to be trusted.
-- in:  KEYS gen, lock, name of gen
--      ARGV owner, server, prefix of gens, how long ago it was begun (ms)
-- out: {0}; {1}: begin again

--#include int clock

local owner = string.match(redis.call('GET', KEYS[2]) or '', '^([^ ]+) ')

if owner ~= ARGV[1] then
    return {1}
end

local now = clock()
local before = redis.call('GET', KEYS[3])

redis.call('DEL', KEYS[2])

if before and before ~= ARGV[2] then
    redis.call('DEL', ARGV[3] .. before)
end

redis.call('SET', KEYS[1], int(now - tonumber(ARGV[4])))
redis.call('SET', KEYS[3], ARGV[2])

return {0}
