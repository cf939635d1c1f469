-- News of a chunk from its owner.  Counts are set per chunk, never added, and
-- never fall; so repeating is harmless.  The owner's news are also what notices
-- that the batch has expired: it may be that no worker asks for another chunk.
-- in:  KEYS gen, batch, chunks, leases
--      ARGV chunk, epoch, what (run, done, release), ok, failed, lease (ms),
--           of its seal (seconds, 0: none)
-- out: {0, status}; {1, status}: another epoch, or no such batch (status "");
--      {2}: not known because the index is being rebuilt

--#include gen int clock status record save count

local b, c, l = KEYS[2], KEYS[3], KEYS[4]
local chunk, what = ARGV[1], ARGV[3]

local h = redis.call('HMGET', b, 'status', 'chunks', 'sealed',
                     'in_progress_at', 'expires_at')
local r = record(c, chunk)
local status = h[1] or ''

redis.call('ZCARD', l)

if not r then
    if not filled() then
        return {2}
    end

    return {1, status}
end

if tonumber(r.epoch) ~= tonumber(ARGV[2]) then

    -- a server that has forgotten something knows an older epoch

    if tonumber(r.epoch) < tonumber(ARGV[2]) and not filled() then
        return {2}
    end

    return {1, status}
end

local was = r.state

if was ~= 'd' then
    -- run after a release: it was not taken, or the epoch would be another one
    r.state = ({run = 'r', done = 'd', release = 'f'})[what]
end

local now, seconds = clock()
local expires_at = tonumber(h[5] or '') or 0

-- at: what a rebuild finds on disk, too, should the index forget it

local function finalizing(at)
    status = move(b, status, 'finalizing',
                  int(math.max(at, tonumber(h[4] or '') or 0)))

    if expires_at > 0 and at >= expires_at then
        redis.call('HSET', b, 'expired', '1')
    end
end

-- a script whose first write frees memory is let through when Redis is full
redis.call('HDEL', b, '-')

count(b, c, chunk, r, ARGV[4], ARGV[5])

if r.state == 'r' then
    redis.call('ZADD', l, int(now + tonumber(ARGV[6])), chunk)

    if status == 'in_progress' and expires_at > 0 and seconds >= expires_at
    then
        finalizing(expires_at)
    end

elseif r.state == 'f' then
    redis.call('ZADD', l, '0', chunk)

elseif was ~= 'd' then
    redis.call('ZREM', l, chunk)

    local done = redis.call('HINCRBY', b, 'done', '1')
    local sealed = math.max(tonumber(h[3] or '') or 0, tonumber(ARGV[7]))

    redis.call('HSET', b, 'sealed', int(sealed))

    if status == 'in_progress' and done >= (tonumber(h[2] or '') or 0) then
        finalizing(expires_at > 0 and math.min(sealed, expires_at) or sealed)
    end
end

return {0, status}
