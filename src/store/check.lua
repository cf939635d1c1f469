-- in:  KEYS gen
-- out: {0}: the index is filled; {2}: it is not

return {redis.call('EXISTS', KEYS[1]) == 1 and 0 or 2}
