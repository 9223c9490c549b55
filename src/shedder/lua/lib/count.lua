-- Counts. One that somebody has damaged by hand begins anew: it must not keep a job from starting.

local function count(key, field, by)
  local done, value = pcall(redis.call, 'HINCRBY', key, field, by)
  if done then return value end
  redis.call('HSET', key, field, by) -- fails as before where the key is of another type
  return by
end
