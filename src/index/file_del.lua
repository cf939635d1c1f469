-- The tombstone is on disk already; or the store has lost the file (not
-- deleted).  For an hour a mark tells a file_put that is still under way of a
-- deletion, and a list where the file was.
-- in:  KEYS gen, file, list, list of the purpose, expiry list, use, mark
--      ARGV check gen (1 or 0), id, deleted (1 or 0)
-- out: {0}; {1}: it was not there; {2}: the index is being rebuilt

--#include gen int unuse mark

local text = mark(KEYS[7], KEYS[3], ARGV[2])
local found = redis.call('DEL', KEYS[2])

for i = 3, 5 do
    redis.call('ZREM', KEYS[i], ARGV[2])
end

unuse(KEYS[6], ARGV[2])

if ARGV[3] == '1' then
    redis.call('SET', KEYS[7], text, 'EX', '3600')
end

-- a worker that fills another server's index may have read the manifest before

if ARGV[1] == '1' and not filled() then
    return {2}
end

return {1 - found}
