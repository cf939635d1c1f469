-- Ended batches that are to be deleted: first those beyond a tenant's quota,
-- then those that ended by a certain time.  They are put off for a pause, in
-- which the caller deletes them: what cannot be deleted, or has a webhook that
-- is not delivered yet, is not in the way of others.
-- in:  KEYS gen, ended batches, those beyond the quota, webhooks due
--      ARGV prefix of the batches' keys, until (seconds), limit, pause
--           (seconds)
-- out: {0, 1 if there may be more, {batch.json, ...}}; {2}: being rebuilt

--#include gen int clock

if not filled() then
    return {2}
end

local limit, pause = tonumber(ARGV[3]), tonumber(ARGV[4])
local _, now = clock()
local items, looked = {}, 0

for i, key in ipairs({KEYS[3], KEYS[2]}) do
    local to = i == 1 and now or tonumber(ARGV[2])

    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', int(to),
                                   'LIMIT', '0', int(limit - looked))) do
        local meta = redis.call('HGET', ARGV[1] .. id, 'meta')

        looked = looked + 1

        if not meta then
            redis.call('ZREM', key, id)

        else
            redis.call('ZADD', key, int(to + pause), id)

            if not redis.call('ZSCORE', KEYS[4], id) then
                items[#items + 1] = meta
            end
        end
    end

    if looked >= limit then
        break
    end
end

return {0, looked >= limit and 1 or 0, items}
