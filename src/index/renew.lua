-- Extends the lease of the validation or of the finalizer, or gives it back.
-- in:  KEYS gen, batch
--      ARGV v or f, epoch, lease (ms; 0: give back)
-- out: {0, status}; {1, status}: lost (status "": no such batch);
--      {2}: not known because the index is being rebuilt

--#include gen int clock

local p, b = ARGV[1], KEYS[2]
local h = redis.call('HMGET', b, 'status', p .. 'epoch', p .. 'until')
local status = h[1] or ''

-- a server that has forgotten something knows no epoch, or an older one

if (tonumber(h[2] or '') or 0) < tonumber(ARGV[2])
   and not filled()
then
    return {2}
end

if not h[3] or tonumber(h[2]) ~= tonumber(ARGV[2]) then
    return {1, status}
end

redis.call('HDEL', b, p .. 'until')

if ARGV[3] ~= '0' then
    redis.call('HSET', b, p .. 'until', int(clock() + tonumber(ARGV[3])))
end

return {0, status}
