#!lua flags=allow-oom
-- Take the list of a paused lane out of the reach of stock workers, order kept.
--
-- KEYS
--   pauses                    hash: lane -> pause
--   list, kept, parked, bell  of the lane
-- ARGV
--   limit  ids to move at most, when the list cannot be renamed
--   lane   its name
-- RETURNS
--   {1 when the lane is parked and no id is left to move, or not paused, else 0, jobs parked}
-- include lib/clock.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
local pauses = KEYS[1]
local limit = tonumber(ARGV[1])
local lane = lanes_from(KEYS, 2, ARGV, 2, 4)[1]

local pause = read_pause(pauses, lane.name)
if not pause then return {1, 0} end
waiting_in(lane) -- fails before the first change where a key is of another type
if not pause.parked then
  pause.parked = true
  redis.call('HSET', pauses, lane.name, cjson.encode(pause))
end
if redis.call('EXISTS', lane.list) == 1 and redis.call('EXISTS', lane.parked) == 0 then
  redis.call('RENAME', lane.list, lane.parked)
end
for _ = 1, limit do
  if not redis.call('LMOVE', lane.list, lane.parked, 'LEFT', 'RIGHT') then break end
end
return {redis.call('EXISTS', lane.list) == 0 and 1 or 0, redis.call('LLEN', lane.parked)}
