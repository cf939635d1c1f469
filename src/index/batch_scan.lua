-- Some of all batches that the index knows, as file_scan does for files.
-- in:  KEYS gen
--      ARGV cursor ("0" to begin with), pattern of the batches' keys, how many
--           keys to look at
-- out: {0, cursor ("0": that was all), {batch.json, ...}}

local r = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local items = {}

for _, key in ipairs(r[2]) do
    local meta = redis.call('HGET', key, 'meta')

    if meta then
        items[#items + 1] = meta
    end
end

return {0, r[1], items}
