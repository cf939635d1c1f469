-- News of a chunk from its owner.  Counts are set per chunk, never added, and
-- never fall; so repeating is harmless.  Who runs a chunk notices that the batch
-- has expired: nobody may be asking for another one.
-- in:  KEYS gen, batch, chunks, leases
--      ARGV chunk, epoch, what (run, done, release), ok, failed, lease (ms),
--           of its seal (seconds, 0: none)
-- out: {0, status}; {1, status}: another epoch, or no such batch (status "");
--      {2}: not known because the index is being rebuilt

local b, c, l = KEYS[2], KEYS[3], KEYS[4]
local chunk, what = ARGV[1], ARGV[3]

local h = redis.call('HMGET', b, 'status', 'chunks', 'sealed',
                     'in_progress_at', 'expires_at')
local s = redis.call('HGET', c, chunk)
local status = h[1] or ''

redis.call('ZCARD', l)

if not s then
    if redis.call('EXISTS', KEYS[1]) == 0 then
        return {2}
    end

    return {1, status}
end

local epoch, owner, nonce, ok, failed, state =
    string.match(s, '^(%d+):([^:]*):([^:]*):(%d+):(%d+):([rfd])$')

if not epoch then
    return redis.error_reply('ERR chunk record of the batch index is damaged')
end

if tonumber(epoch) ~= tonumber(ARGV[2]) then

    -- a server that has forgotten something knows an older epoch

    if tonumber(epoch) < tonumber(ARGV[2])
       and redis.call('EXISTS', KEYS[1]) == 0
    then
        return {2}
    end

    return {1, status}
end

local was = state
local dok = math.max(tonumber(ARGV[4]) - tonumber(ok), 0)
local dfailed = math.max(tonumber(ARGV[5]) - tonumber(failed), 0)

ok = string.format('%.0f', tonumber(ok) + dok)
failed = string.format('%.0f', tonumber(failed) + dfailed)

if state ~= 'd' then
    -- run after a release: nobody took it, or the epoch would be another one
    state = ({run = 'r', done = 'd', release = 'f'})[what]
end

local t = redis.call('TIME')
local seconds = tonumber(t[1])
local expires_at = tonumber(h[5] or '') or 0

-- at: what the disk tells whoever fills an index that has forgotten it

local function finalizing(at)
    status = 'finalizing'
    redis.call('HSET', b, 'status', status)
    redis.call('HSETNX', b, 'finalizing_at', string.format('%.0f',
               math.max(at, tonumber(h[4] or '') or 0)))

    if expires_at > 0 and at >= expires_at then
        redis.call('HSET', b, 'expired', '1')
    end
end

-- a script whose first write frees memory is let through when Redis is full
redis.call('HDEL', b, '-')

redis.call('HSET', c, chunk, table.concat({epoch, owner, nonce, ok, failed,
                                           state}, ':'))
redis.call('HINCRBY', b, 'ok', string.format('%.0f', dok))
redis.call('HINCRBY', b, 'failed', string.format('%.0f', dfailed))

if state == 'r' then
    local now = seconds * 1000 + math.floor(tonumber(t[2]) / 1000)
    redis.call('ZADD', l, string.format('%.0f', now + tonumber(ARGV[6])),
               chunk)

    if status == 'in_progress' and expires_at > 0 and seconds >= expires_at
    then
        finalizing(expires_at)
    end

elseif state == 'f' then
    redis.call('ZADD', l, '0', chunk)

elseif was ~= 'd' then
    redis.call('ZREM', l, chunk)

    local done = redis.call('HINCRBY', b, 'done', '1')
    local sealed = math.max(tonumber(h[3] or '') or 0, tonumber(ARGV[7]))

    redis.call('HSET', b, 'sealed', string.format('%.0f', sealed))

    if status == 'in_progress' and done >= (tonumber(h[2] or '') or 0) then
        finalizing(expires_at > 0 and math.min(sealed, expires_at) or sealed)
    end
end

return {0, status}
