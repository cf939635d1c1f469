-- Batches whose webhook is due: they are due again when the lease ends, unless
-- hook_set says otherwise.  Each has a receiver.  One whose receiver has no
-- place left goes to that receiver's queue, so that no claim has to pass it by
-- again; it is due again after a minute, should the queue be lost.  What is
-- further away than any pause was put off before the clock was set back.
-- in:  KEYS gen, due, receivers that have a queue (by when they had their turn)
--      ARGV number, lease (ms), longest pause (ms), prefix of the batches' keys,
--           prefix of the queues' keys, places of each receiver but these:
--           "receiver=places ..."
-- out: {0, how many are not delivered yet, {1 or 0: there are more, then of
--      each its id and its receiver ("0": not known), ...}}; {2}: being rebuilt

--#include gen int clock

local due, waiting = KEYS[2], KEYS[3]

if not filled() then
    return {2}
end

local now = clock()
local n = tonumber(ARGV[1])
local lease, park = int(now + tonumber(ARGV[2])), int(now + 60000)
local places = {['0'] = n}
local items = {'0'}

for receiver, p in string.gmatch(ARGV[7], '(%x+)=(%d+)') do
    places[receiver] = tonumber(p)
end

local function left(receiver)
    return math.min(places[receiver] or tonumber(ARGV[6]), n)
end

local function take(id, receiver)
    redis.call('ZADD', due, lease, id)
    items[#items + 1] = id
    items[#items + 1] = receiver
    places[receiver] = left(receiver) - 1
    n = n - 1
end

-- receivers in turn

for _, receiver in ipairs(redis.call('ZRANGE', waiting, 0, 127)) do
    local queue = ARGV[5] .. receiver

    for _, id in ipairs(left(receiver) > 0 and
                        redis.call('ZRANGE', queue, 0, left(receiver) - 1)
                        or {})
    do
        redis.call('ZREM', queue, id)

        if redis.call('ZSCORE', due, id) then
            take(id, receiver)
        end
    end

    if redis.call('ZCARD', queue) == 0 then
        redis.call('ZREM', waiting, receiver)
    else
        redis.call('ZADD', waiting, int(now), receiver)
        items[1] = '1'
    end
end

-- what has become due

local ids = redis.call('ZRANGEBYSCORE', due, '-inf', int(now),
                       'LIMIT', 0, 256)

if #ids == 256 then
    items[1] = '1'
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', due,
                               '(' .. int(now + tonumber(ARGV[3])), '+inf',
                               'LIMIT', 0, ARGV[1])) do
    ids[#ids + 1] = id
end

for _, id in ipairs(ids) do
    if n == 0 then
        items[1] = '1'
        break
    end

    local receiver = redis.pcall('HGET', ARGV[4] .. id, 'hook')

    if type(receiver) ~= 'string' then
        receiver = '0'
    end

    if left(receiver) > 0 then
        take(id, receiver)
    else
        redis.call('ZADD', ARGV[5] .. receiver, int(now), id)
        redis.call('ZADD', waiting, 'NX', int(now), receiver)
        redis.call('ZADD', due, park, id)
        items[1] = '1'
    end
end

return {0, redis.call('ZCARD', due), items}
