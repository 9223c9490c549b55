#!lua flags=allow-oom
-- Take a lane that holds no job out of RQ's set of queues.
--
-- KEYS
--   queues  RQ's set of queues
--   list    RQ's list of the lane
--   then RQ's registries of the lane
-- ARGV
--   none
-- RETURNS
--   1 when it was taken out; 0 when it holds a job, or was not there
local queues, list = KEYS[1], KEYS[2]
local places = {unpack(KEYS, 2)}

for _, place in ipairs(places) do
  if redis.call('EXISTS', place) == 1 then return 0 end
end
return redis.call('SREM', queues, list)
