-- The lock of whoever rebuilds.  It only saves work, so its life is a key's.
-- in:  KEYS lock
--      ARGV owner, lease (ms), take or renew
-- out: {0}; {1}: somebody else has it (renew: or nobody)

local owner = redis.call('GET', KEYS[1])

if owner ~= ARGV[1] and (owner or ARGV[3] == 'renew') then
    return {1}
end

redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])

return {0}
