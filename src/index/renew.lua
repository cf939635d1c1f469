-- Extends the lease of the validation or of the finalizer, or gives it back.
-- in:  KEYS gen, batch
--      ARGV v or f, epoch, lease (ms; 0: give back)
-- out: {0, status}; {1, status}: lost (status "": no such batch);
--      {2}: not known because the index is being rebuilt

local p, b = ARGV[1], KEYS[2]
local h = redis.call('HMGET', b, 'status', p .. 'epoch', p .. 'until')
local status = h[1] or ''

-- a server that has forgotten something knows no epoch, or an older one

if (tonumber(h[2] or '') or 0) < tonumber(ARGV[2])
   and redis.call('EXISTS', KEYS[1]) == 0
then
    return {2}
end

if not h[3] or tonumber(h[2]) ~= tonumber(ARGV[2]) then
    return {1, status}
end

redis.call('HDEL', b, p .. 'until')

if ARGV[3] ~= '0' then
    local t = redis.call('TIME')
    local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)

    redis.call('HSET', b, p .. 'until',
               string.format('%.0f', now + tonumber(ARGV[3])))
end

return {0, status}
