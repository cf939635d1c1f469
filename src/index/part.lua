-- The bytes of an upload's parts, while they come and when they are stored.  The
-- upload has a place in what its tenant uses: the bytes that it was created
-- with, or those of its parts, if they are more.
--
-- The record of the parts is "<bytes of stored ones> <part>=<bytes> ...", with
-- those that are under way, or "ended".  It goes with the upload's hold.
-- in:  KEYS gen, use, holds, parts
--      ARGV upload, part, what: "take", "stored" (it is not under way any
--           more) or "drop" (nor stored), its bytes, most (as in hold), the
--           upload's bytes, limit of its parts' sum, limit of the tenant's
--           sum (0: none), hold (ms), bytes of stored parts, if there is no
--           record
-- out: {0, 0, sum, what the part has}; {1, 1, sum without the upload, what it
--      needs}: the tenant's sum would be over its limit; {1, 3, bytes of the
--      other parts}: so would that of the parts; {1, 4, 0}: the upload has
--      ended; {2}: being rebuilt

--#include gen int clock late place

local u, h, p = KEYS[2], KEYS[3], KEYS[4]
local upload, part, what = ARGV[1], ARGV[2], ARGV[3]
local bytes, most = tonumber(ARGV[4]), tonumber(ARGV[5])
local whole = tonumber(ARGV[6])
local max_parts, max_sum = tonumber(ARGV[7]), tonumber(ARGV[8])
local hold = tonumber(ARGV[9])

if not filled() then
    return {2}
end

local text = redis.call('GET', p) or ARGV[10]

if text == 'ended' then
    return {1, 4, 0}
end

local stored, rest = string.match(text, '^(%d+)(.*)$')

if not stored then
    error('record of parts of the batch index is damaged')
end

local list, others, had = {}, tonumber(stored), 0

for id, n in string.gmatch(rest, ' ([^ =]+)=(%d+)') do
    if id == part then
        had = tonumber(n)
    else
        list[#list + 1] = ' ' .. id .. '=' .. n
        others = others + tonumber(n)
    end
end

local now = clock()
local sum = late(u, h, now)
local was = tonumber(redis.call('HGET', u, upload) or '0')

if what == 'take' then
    if most > 0 then
        bytes = math.max(bytes, had)
    end

    if others + bytes > max_parts then
        return {1, 3, int(others)}
    end

    if max_sum > 0 then
        local room = math.max(max_sum - (sum - was), was)
        local place = math.max(whole, others + bytes)

        if place > room then
            return {1, 1, int(sum - was), int(place)}
        end

        most = math.min(most, room - others)
    end

    bytes = math.max(bytes, math.min(most, max_parts - others))
    list[#list + 1] = ' ' .. part .. '=' .. int(bytes)
else
    bytes = what == 'stored' and had or 0
    stored = int(tonumber(stored) + bytes)

    -- what is not there any more needs no place
    if was == 0 then
        return {0, 0, int(sum), 0}
    end
end

local amount = math.max(whole, others + bytes)

sum = sum - was + amount
redis.call('SET', p, stored .. table.concat(list), 'PX', int(hold))
place(u, h, upload, amount, sum, now + hold)

return {0, 0, int(sum), int(bytes)}
