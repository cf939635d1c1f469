-- What several scripts share, in parts: a line "--#part NAME" begins one.  A
-- script has the line "--#include NAME ..." where the text of those parts goes
-- (scripts/lua2c.sh).  A part stands by itself, or says what it needs.


--#part gen
-- Is the index filled, on this very server?  KEYS[1] is gen.

local function filled()
    return redis.call('EXISTS', KEYS[1]) == 1
end


--#part int
-- A number as Redis takes it, with all its digits.

local function int(n)
    return string.format('%.0f', n)
end


--#part clock
-- Redis' own time, in ms and in seconds.

local function clock()
    local t = redis.call('TIME')
    local seconds = tonumber(t[1])

    return seconds * 1000 + math.floor(tonumber(t[2]) / 1000), seconds
end


--#part status
-- The status machine, as src/core/batch_status.c has it (t/lua compares them).
-- No script sets a status but by move(), finish() or reopen().

local steps = {
    validating = ' in_progress failed cancelling finalizing ',
    in_progress = ' finalizing cancelling ',
    finalizing = ' completed expired cancelling ',
    cancelling = ' cancelled ',
    completed = '', failed = '', expired = '', cancelled = ''
}

-- one that never changes; one that still will: false of what is not a status

local function terminal(status)
    return steps[status] == ''
end

local function live(status)
    return steps[status] ~= nil and steps[status] ~= ''
end

local function set(b, from, to, legal)
    if not legal then
        error('illegal status of a batch: ' .. from .. ' to ' .. to)
    end

    redis.call('HSET', b, 'status', to)
    return to
end

-- One step on; from '': the batch is made.  at: since when, which is kept if it
-- is known already.

local function move(b, from, to, at)
    set(b, from, to, from == '' and to == 'validating'
                     or string.find(steps[from] or '', ' ' .. to .. ' ', 1,
                                    true))

    if at then
        redis.call('HSETNX', b, to .. '_at', at)
    end

    return to
end

-- The disk has a final.json: the index may be any number of steps behind it,
-- but an end is not followed by another one.

local function finish(b, from, to)
    return set(b, from, to, not terminal(from) and terminal(to))
end

-- The only step back: the seal of a chunk is void.  finalizing_at stays, which
-- is why clients go on seeing finalizing.

local function reopen(b, from)
    return set(b, from, 'in_progress',
               from == 'finalizing' or from == 'in_progress')
end


--#part view
-- What is told of a batch, in the order in which ngx_http_batch_index_view.c
-- reads it (t/lua compares them).  The first is false if there is no batch.

local fields = {'meta', 'final', 'status', 'in_progress_at', 'finalizing_at',
                'cancelling_at', 'total', 'ok', 'failed', 'model'}

local function view(b)
    return redis.call('HMGET', b, unpack(fields))
end


--#part piece
-- The next ids of a list, each followed by its score: behind the id after, ''
-- for the first ones.  It may be gone meanwhile: then its score says where it
-- was, or without one there is nothing.

local function piece(list, after, score, n, asc)
    local rank = 0

    if after ~= '' then
        rank = redis.call(asc and 'ZRANK' or 'ZREVRANK', list, after)

        if rank then
            rank = rank + 1

        elseif score == '' then
            return {}

        else
            rank = redis.call('ZCOUNT', list, asc and '-inf' or '(' .. score,
                              asc and '(' .. score or '+inf')

            for _, id in ipairs(redis.call('ZRANGEBYSCORE', list, score,
                                           score))
            do
                if asc and id < after or not asc and id > after then
                    rank = rank + 1
                end
            end
        end
    end

    return redis.call(asc and 'ZRANGE' or 'ZREVRANGE', list, rank,
                      rank + n - 1, 'WITHSCORES')
end


--#part record
-- A chunk: epoch, owner, nonce, ok, failed, state: r running, f free, d done.

local function record(c, chunk)
    local s = redis.call('HGET', c, chunk)

    if not s then
        return nil
    end

    local epoch, owner, nonce, ok, failed, state =
        string.match(s, '^(%d+):([^:]*):([^:]*):(%d+):(%d+):([rfd])$')

    if not epoch then
        error('chunk record of the batch index is damaged')
    end

    return {epoch = epoch, owner = owner, nonce = nonce,
            ok = tonumber(ok), failed = tonumber(failed), state = state}
end

local function untouched()
    return {epoch = '0', owner = '', nonce = '', ok = 0, failed = 0,
            state = 'f'}
end


--#part save
-- Needs int.  Puts a chunk's record back.

local function save(c, chunk, r)
    redis.call('HSET', c, chunk,
               table.concat({r.epoch, r.owner, r.nonce, int(r.ok),
                             int(r.failed), r.state}, ':'))
end


--#part count
-- Needs int and save.  Counts are set per chunk, never added, and never fall:
-- repeating is harmless.  Saves the record, too.

local function count(b, c, chunk, r, ok, failed)
    local dok = math.max(tonumber(ok) - r.ok, 0)
    local dfailed = math.max(tonumber(failed) - r.failed, 0)

    r.ok = r.ok + dok
    r.failed = r.failed + dfailed

    save(c, chunk, r)
    redis.call('HINCRBY', b, 'ok', int(dok))
    redis.call('HINCRBY', b, 'failed', int(dfailed))
end


--#part use
-- Needs int.  What a tenant uses: an id is in the hash once, and sum changes
-- with it.

local function use(u, id, amount)
    local was = tonumber(redis.call('HGET', u, id) or '0')

    redis.call('HSET', u, id, amount)
    redis.call('HINCRBY', u, 'sum', int(tonumber(amount) - was))
end


--#part unuse
-- Needs int.  The id's place is free; how much it was, nil: it had none.

local function unuse(u, id)
    local n = redis.call('HGET', u, id)

    if not n then
        return nil
    end

    redis.call('HDEL', u, id)
    redis.call('HINCRBY', u, 'sum', int(0 - tonumber(n)))

    return tonumber(n)
end


--#part late
-- Needs int.  Frees the held places whose time is over; the sum that is left.

local function late(u, h, now)
    local old = redis.call('ZRANGEBYSCORE', h, '-inf', int(now))
    local sum = tonumber(redis.call('HGET', u, 'sum') or '0')

    for _, id in ipairs(old) do
        sum = sum - tonumber(redis.call('HGET', u, id) or '0')
        redis.call('HDEL', u, id)
        redis.call('ZREM', h, id)
    end

    if #old > 0 then
        redis.call('HSET', u, 'sum', int(sum))
    end

    return sum
end


--#part place
-- Needs int.  An id's place, held for so many ms, or longer if it was; one that
-- is filled is not held any more.

local function place(u, h, id, amount, sum, ends)
    local was = redis.call('HEXISTS', u, id) == 1
    local till = redis.call('ZSCORE', h, id)

    redis.call('HSET', u, id, int(amount), 'sum', int(sum))

    if ends and (till or not was) then
        redis.call('ZADD', h, int(math.max(ends, tonumber(till or '0'))), id)
    end
end
