-- What the disk says of a chunk: never lowers an epoch or a count, and a lease
-- of the same epoch goes on.
-- in:  KEYS batch, chunks, leases
--      ARGV chunk, epoch, done (1 or 0), ok, failed, of its seal (seconds)
-- out: {0, status}; {1}: no such batch

local b, c, l = KEYS[1], KEYS[2], KEYS[3]
local chunk = ARGV[1]

local h = redis.call('HMGET', b, 'status', 'sealed')
local status = h[1]
local s = redis.call('HGET', c, chunk)

redis.call('ZCARD', l)

if not status then
    return {1}
end

if status ~= 'validating' and status ~= 'in_progress'
   and status ~= 'finalizing' and status ~= 'cancelling'
then
    return {0, status}
end

local epoch, owner, nonce, ok, failed, state =
    string.match(s or '0:::0:0:f',
                 '^(%d+):([^:]*):([^:]*):(%d+):(%d+):([rfd])$')

if not epoch then
    return redis.error_reply('ERR chunk record of the batch index is damaged')
end

local was = state
local dok = math.max(tonumber(ARGV[4]) - tonumber(ok), 0)
local dfailed = math.max(tonumber(ARGV[5]) - tonumber(failed), 0)
local higher = tonumber(ARGV[2]) > tonumber(epoch)

if higher then
    epoch, owner, nonce = ARGV[2], '', ''
end

if was == 'd' or ARGV[3] == '1' then
    state = 'd'
elseif higher then
    state = 'f'
end

redis.call('HDEL', b, '-')
redis.call('HSET', c, chunk, table.concat({epoch, owner, nonce,
           string.format('%.0f', tonumber(ok) + dok),
           string.format('%.0f', tonumber(failed) + dfailed), state}, ':'))
redis.call('HINCRBY', b, 'ok', string.format('%.0f', dok))
redis.call('HINCRBY', b, 'failed', string.format('%.0f', dfailed))

if state == 'f' then
    redis.call('ZADD', l, '0', chunk)

elseif state == 'd' and was ~= 'd' then
    redis.call('ZREM', l, chunk)
    redis.call('HINCRBY', b, 'done', '1')
    redis.call('HSET', b, 'sealed', string.format('%.0f',
               math.max(tonumber(h[2] or '') or 0, tonumber(ARGV[6]))))
end

return {0, status}
