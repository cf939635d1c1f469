-- in:  KEYS gen, active
--      ARGV limit, turn, prefix of the batches' keys
-- out: {0, 0, {"id tenant", ...}}: all, oldest first; or, if there are more than
--      limit, the oldest half of it and, turn by turn, others; of a batch whose
--      tenant is not known, the id alone; {2}: being rebuilt

--#include gen

if not filled() then
    return {2}
end

local limit = tonumber(ARGV[1])
local ids = redis.call('ZRANGE', KEYS[2], 0, limit - 1)

-- by tenant

local function answer()
    for i, id in ipairs(ids) do
        local tenant = redis.pcall('HGET', ARGV[3] .. id, 'tenant')

        -- one key that is damaged hides no other batch
        if type(tenant) == 'string' then
            ids[i] = id .. ' ' .. tenant
        end
    end

    return {0, 0, ids}
end

if #ids < limit or limit < 2 then
    return answer()
end

local old = math.floor(limit / 2)
local window = limit - old
local rest = redis.call('ZCARD', KEYS[2]) - old
local first = old + (tonumber(ARGV[2]) % math.ceil(rest / window)) * window

for i, id in ipairs(redis.call('ZRANGE', KEYS[2], first,
                               first + window - 1))
do
    ids[old + i] = id
end

return answer()
