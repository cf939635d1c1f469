-- A page of a tenant's files.  The manifests' keys follow from the list, so
-- they cannot be in KEYS; they carry the same hash tag.
-- in:  KEYS gen, list
--      ARGV prefix of the files' keys, after ("": from the start), limit,
--           asc or desc
-- out: {0, has_more, {manifest, ...}}; {2}: being rebuilt

--#include gen

if not filled() then
    return {2}
end

local asc = ARGV[4] == 'asc'
local limit = tonumber(ARGV[3])
local from = 0
local items = {}

if ARGV[2] ~= '' then
    local rank = redis.call(asc and 'ZRANK' or 'ZREVRANK', KEYS[2], ARGV[2])

    if not rank then
        return {0, 0, items}
    end

    from = rank + 1
end

while true do
    local ids = redis.call(asc and 'ZRANGE' or 'ZREVRANGE', KEYS[2],
                           from, from + limit)

    for _, id in ipairs(ids) do
        local manifest = redis.call('GET', ARGV[1] .. id)

        if manifest then
            if #items == limit then
                return {0, 1, items}
            end

            items[#items + 1] = manifest
        end
    end

    if #ids <= limit then
        return {0, 0, items}
    end

    from = from + #ids
end
