-- The tombstone is on disk already; or the store has lost the batch (not
-- deleted).  For an hour a mark tells a final or batch_put that is still under
-- way of a deletion.
-- in:  KEYS batch, list, active, chunks, leases, use, holds, webhooks due,
--           ended batches, those beyond the quota, the tenant's ended ones,
--           mark
--      ARGV id, deleted (1 or 0)
-- out: {0}; {1}: it was not there

--#include int unuse

local found = redis.call('DEL', KEYS[1])

redis.call('DEL', KEYS[4], KEYS[5])

for _, i in ipairs({2, 3, 7, 8, 9, 10, 11}) do
    redis.call('ZREM', KEYS[i], ARGV[1])
end

unuse(KEYS[6], ARGV[1])

if ARGV[2] == '1' then
    redis.call('SET', KEYS[12], '1', 'EX', '3600')
end

return {1 - found}
