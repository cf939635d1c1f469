-- in:  KEYS gen, file
-- out: {0, 0, {manifest}}; {1}: no such file; {2}: being rebuilt

--#include gen

if not filled() then
    return {2}
end

local manifest = redis.call('GET', KEYS[2])

if not manifest then
    return {1}
end

return {0, 0, {manifest}}
