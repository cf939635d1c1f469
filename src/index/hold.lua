-- What a tenant uses: id -> bytes or lines, and their sum.  Takes a place for
-- what is about to be published, if the limits allow it; a place that is never
-- filled is free again when its time is over.  An id that is there already
-- only changes its amount.
-- in:  KEYS gen, use, holds
--      ARGV id ("": nothing is taken), amount, limit of the sum, limit of the
--           number (0: none), hold (ms; 0: only an id that is there changes),
--           most (0: the amount, neither more nor less; else the place only
--           grows: to the amount at least, to this if there is room)
-- out: {0, 0, sum, what the id has}; {1, 1, sum}: the sum would be over its
--      limit; {1, 2, number}: so would the number; {2}: being rebuilt

--#include gen int clock late place

local u, h = KEYS[2], KEYS[3]
local id, hold = ARGV[1], tonumber(ARGV[5])

if not filled() then
    return {2}
end

local now = clock()
local sum = late(u, h, now)
local number = math.max(redis.call('HLEN', u) - 1, 0)
local was = id ~= '' and redis.call('HGET', u, id)
local had = tonumber(was or '0')
local amount, most = tonumber(ARGV[2]), tonumber(ARGV[6])
local max_sum, max_number = tonumber(ARGV[3]), tonumber(ARGV[4])

if not was and max_number > 0 and number >= max_number then
    return {1, 2, int(number)}
end

if most > 0 then
    amount = math.max(amount, had)
end

if amount > had and max_sum > 0 and sum - had + amount > max_sum then
    return {1, 1, int(sum)}
end

if max_sum > 0 then
    most = math.min(most, max_sum - (sum - had))
end

amount = math.max(amount, most)

if id ~= '' and (was or hold > 0) then
    sum = sum - had + amount
    place(u, h, id, amount, sum, hold > 0 and now + hold)
end

return {0, 0, int(sum), int(amount)}
