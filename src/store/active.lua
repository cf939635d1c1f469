-- in:  KEYS gen, active
--      ARGV limit
-- out: {0, 0, {id, ...}}, oldest first; {2}: being rebuilt

if redis.call('EXISTS', KEYS[1]) == 0 then
    return {2}
end

return {0, 0, redis.call('ZRANGE', KEYS[2], 0, tonumber(ARGV[1]) - 1)}
