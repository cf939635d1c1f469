-- A page of a tenant's batches, the newest first.  The batches' keys follow
-- from the list, so they cannot be in KEYS; they carry the same hash tag.
-- in:  KEYS gen, list
--      ARGV prefix of the batches' keys, after ("": from the start), limit
-- out: {0, has_more, {view, ...}}; {2}: being rebuilt

--#include gen view

if not filled() then
    return {2}
end

local limit = tonumber(ARGV[3])
local from = 0
local items = {}

if ARGV[2] ~= '' then
    local rank = redis.call('ZREVRANK', KEYS[2], ARGV[2])

    if not rank then
        return {0, 0, items}
    end

    from = rank + 1
end

while true do
    local ids = redis.call('ZREVRANGE', KEYS[2], from, from + limit)

    for _, id in ipairs(ids) do
        local v = view(ARGV[1] .. id)

        if v[1] then
            if #items == limit then
                return {0, 1, items}
            end

            items[#items + 1] = v
        end
    end

    if #ids <= limit then
        return {0, 0, items}
    end

    from = from + #ids
end
