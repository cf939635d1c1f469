-- Files whose time has come, the longest overdue first.  An entry whose
-- manifest is gone is dropped, else it would be in the way for ever.
-- in:  KEYS gen, expiry list
--      ARGV prefix of the files' keys, now (seconds), how many to pass over,
--           limit
-- out: {0, 1 if there may be more, {manifest, ...}}; {2}: being rebuilt

--#include gen

if not filled() then
    return {2}
end

local ids = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[2],
                       'LIMIT', ARGV[3], ARGV[4])
local items = {}

for _, id in ipairs(ids) do
    local manifest = redis.call('GET', ARGV[1] .. id)

    if manifest then
        items[#items + 1] = manifest
    else
        redis.call('ZREM', KEYS[2], id)
    end
end

return {0, #ids == tonumber(ARGV[4]) and 1 or 0, items}
