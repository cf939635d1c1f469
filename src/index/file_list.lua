-- A piece of a tenant's list of files: it ends early when it has enough bytes,
-- so that neither Redis nor who asks has much to do at once.  The manifests'
-- keys follow from the list, so they cannot be in KEYS; they carry the same
-- hash tag.
-- in:  KEYS gen, list
--      ARGV prefix of the files' keys, after ("": from the start), its score
--           ("": it must be in the list), limit, enough, asc or desc
-- out: {0, 1 if there may be more, {manifest, ...}, id and score behind which
--      to go on}; {2}: being rebuilt

--#include gen piece

if not filled() then
    return {2}
end

local limit, enough = tonumber(ARGV[4]), tonumber(ARGV[5])
local ids = piece(KEYS[2], ARGV[2], ARGV[3], limit, ARGV[6] == 'asc')
local items = {}
local bytes, seen = 0, 0

while seen < #ids and bytes < enough do
    local manifest = redis.call('GET', ARGV[1] .. ids[seen + 1])

    if manifest then
        items[#items + 1] = manifest
        bytes = bytes + #manifest
    end

    seen = seen + 2
end

return {0, (seen < #ids or seen == 2 * limit) and 1 or 0, items,
        ids[seen - 1] or '', ids[seen] or ''}
