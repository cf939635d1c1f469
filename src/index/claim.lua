-- What may this worker do for the batch?
-- in:  KEYS gen, batch, chunks, leases, active
--      ARGV id, owner, nonce, lease (ms), what our clock should say (ms; 0: not
--           known; -1: it has been set a moment ago), jobs: 0 = chunks only
-- out: {0, what, chunk, epoch, status, cancelling_at, finalizing_at, expired,
--      clock (ms)},
--      what: 0 nothing, 1 validate, 2 chunk, 3 finalize, 4 gone;
--      {2}: being rebuilt

--#include gen int clock status record save

local b, c, l = KEYS[2], KEYS[3], KEYS[4]
local owner, nonce = ARGV[2], ARGV[3]

if not filled() then
    return {2}
end

local names = {'status', 'expires_at', 'chunks', 'next', 'done', 'sealed',
               'in_progress_at', 'cancelling_at', 'finalizing_at', 'expired',
               'vepoch', 'vowner', 'vnonce', 'vuntil',
               'fepoch', 'fowner', 'fnonce', 'funtil'}
local values = redis.call('HMGET', b, unpack(names))
local h = {}

for i, name in ipairs(names) do
    h[name] = values[i] or ''
end

local function num(name)
    return tonumber(h[name]) or 0
end

local now, seconds = clock()
local deadline = int(now + tonumber(ARGV[4]))

-- No lease is longer than a minute: a deadline far beyond was set before the
-- clock was set back.  Its owner renews it soon, or is gone.

local latest = now + 2 * math.max(tonumber(ARGV[4]), 60000)

-- While the caller sees that the clock has just been set, no lease is over but
-- those that were given back: owners that live have to renew theirs first.

local over, expected = now, tonumber(ARGV[5] or '') or 0

if expected ~= 0 and math.abs(now - expected) > 2000 then
    over, latest = 0, math.huge
end

local function answer(what, chunk, epoch)
    local expired = '0'

    if h.status == 'finalizing' and h.expired == '1' then
        expired = '1'
    end

    return {0, what, chunk or '0', epoch or '0', h.status, h.cancelling_at,
            h.finalizing_at, expired, int(now)}
end

-- at: what a rebuild finds on disk, too, should the index forget it; a clock
-- that was set back must not put finalizing before in_progress

local function finalizing(at)
    if h.finalizing_at == '' then
        h.finalizing_at = int(math.max(at, num('in_progress_at')))
    end

    h.status = move(b, h.status, 'finalizing', h.finalizing_at)

    if h.expired == '1' then
        redis.call('HSET', b, 'expired', '1')
    end
end

-- the lease of the validation (v) or of the finalizer (f)

local function whole(what, p)
    local epoch = num(p .. 'epoch')

    if num(p .. 'until') > over and num(p .. 'until') <= latest then
        if h[p .. 'owner'] == owner and h[p .. 'nonce'] == nonce then
            return answer(what, '0', int(epoch))
        end

        return answer(0)
    end

    if ARGV[6] == '0' then
        return answer(0)
    end

    epoch = int(epoch + 1)
    redis.call('HSET', b, p .. 'epoch', epoch, p .. 'owner', owner,
               p .. 'nonce', nonce, p .. 'until', deadline)

    return answer(what, '0', epoch)
end

-- the live lease that this very call has got before; its answer was lost

local function mine()
    for _, chunk in ipairs(redis.call('ZRANGEBYSCORE', l, '(' .. int(over),
                                      int(latest)))
    do
        local r = record(c, chunk)

        if r and r.owner == owner and r.nonce == nonce then
            return chunk, r
        end
    end
end

if h.status == '' or terminal(h.status) then
    redis.call('ZREM', KEYS[5], ARGV[1])
    return answer(4)
end

redis.call('HLEN', c)
local chunk, r = mine()

if h.status == 'validating' or h.status == 'in_progress' then
    local expires_at = num('expires_at')
    local sealed = num('sealed')

    if h.status == 'in_progress' and num('done') >= num('chunks')
       and (expires_at == 0 or sealed < expires_at)
    then
        -- all seals were found by a recovery: no worker reports the last
        redis.call('HDEL', b, '-')
        finalizing(sealed)

    elseif expires_at > 0 and seconds >= expires_at then
        redis.call('HDEL', b, '-')
        h.expired = '1'
        finalizing(expires_at)
    end
end

if h.status == 'validating' then
    return whole(1, 'v')
end

if h.status == 'in_progress' then
    if chunk then
        return answer(2, chunk, r.epoch)
    end

    chunk = redis.call('ZRANGEBYSCORE', l, '-inf', int(over),
                       'LIMIT', 0, 1)[1]
            or redis.call('ZRANGEBYSCORE', l, '(' .. int(latest), '+inf',
                          'LIMIT', 0, 1)[1]

    if not chunk then
        local nxt, chunks = num('next'), num('chunks')

        while nxt < chunks and redis.call('HEXISTS', c, int(nxt)) == 1 do
            nxt = nxt + 1
        end

        if nxt >= chunks then
            return answer(0)
        end

        chunk = int(nxt)
        redis.call('HSET', b, 'next', int(nxt + 1))
    end

    r = record(c, chunk) or untouched()
    r.epoch = int(tonumber(r.epoch) + 1)
    r.owner, r.nonce, r.state = owner, nonce, 'r'

    save(c, chunk, r)
    redis.call('ZADD', l, deadline, chunk)

    return answer(2, chunk, r.epoch)
end

-- finalizing or cancelling: a worker that has not heard of its chunk does not
-- run it

redis.call('HDEL', b, '-')

if chunk then
    redis.call('ZADD', l, '0', chunk)
end

if h.status == 'cancelling' or h.expired == '1' then
    if (num('vuntil') > over and num('vuntil') <= latest)
       or redis.call('ZCOUNT', l, '(' .. int(over), int(latest)) > 0
    then
        return answer(0)
    end
end

return whole(3, 'f')
