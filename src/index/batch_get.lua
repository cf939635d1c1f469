-- in:  KEYS gen, batch
-- out: {0, view}; {1}: no such batch; {2}: being rebuilt

--#include gen view

if not filled() then
    return {2}
end

local v = view(KEYS[2])

if not v[1] then
    return {1}
end

return {0, v}
