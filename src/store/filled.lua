-- Opens the index.  Without the lock it was emptied again meanwhile, or took
-- longer than the lock lives: what was filled in may be gone.
-- in:  KEYS gen, lock
--      ARGV owner
-- out: {0}; {1}: begin again

if redis.call('GET', KEYS[2]) ~= ARGV[1] then
    return {1}
end

redis.call('SET', KEYS[1], '1')
redis.call('DEL', KEYS[2])

return {0}
