-- Some of all files that the index knows, of any tenant.  The whole
-- database is gone through: a file may be in no list of a known tenant.
-- in:  KEYS gen
--      ARGV cursor ("0" to begin with), pattern of the files' keys, how many
--           keys to look at
-- out: {0, cursor ("0": that was all), {manifest, ...}}

local r = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local items = {}

for _, key in ipairs(r[2]) do
    local manifest = redis.call('GET', key)

    if manifest then
        items[#items + 1] = manifest
    end
end

return {0, r[1], items}
