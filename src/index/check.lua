-- Is the index filled, and by what it was filled from this very server?
-- in:  KEYS gen, name of gen
--      ARGV server, since (ms ago; -1: any time)
-- out: {0}: it is; {2}: it is not, or was filled from the store earlier than
--      that long ago, and then is closed

--#include clock

local begun = redis.call('GET', KEYS[1])

if not begun then
    return {2}
end

local since = tonumber(ARGV[2])
local good = redis.call('GET', KEYS[2]) == ARGV[1]

if good and since >= 0 then
    good = tonumber(begun) >= clock() - since
end

if not good then
    redis.call('DEL', KEYS[1])
    return {2}
end

return {0}
