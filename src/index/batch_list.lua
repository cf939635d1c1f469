-- A piece of a tenant's list of batches, the newest first: it ends early when
-- it has enough bytes, so that neither Redis nor who asks has much to do at
-- once.  The batches' keys follow from the list, so they cannot be in KEYS; they
-- carry the same hash tag.
-- in:  KEYS gen, list
--      ARGV prefix of the batches' keys, after ("": from the start), its score
--           ("": it must be in the list), limit, enough
-- out: {0, 1 if there may be more, {view, ...}, id and score behind which to go
--      on}; {2}: being rebuilt

--#include gen view piece

if not filled() then
    return {2}
end

local limit, enough = tonumber(ARGV[4]), tonumber(ARGV[5])
local ids = piece(KEYS[2], ARGV[2], ARGV[3], limit, false)
local items = {}
local bytes, seen = 0, 0

while seen < #ids and bytes < enough do
    local v = view(ARGV[1] .. ids[seen + 1])

    if v[1] then
        items[#items + 1] = v
        bytes = bytes + #v[1] + #(v[2] or '')
    end

    seen = seen + 2
end

return {0, (seen < #ids or seen == 2 * limit) and 1 or 0, items,
        ids[seen - 1] or '', ids[seen] or ''}
