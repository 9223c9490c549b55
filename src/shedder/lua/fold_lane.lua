#!lua flags=allow-oom
-- Bring what stands in front of a lane's list back into the list, in steps, order kept.
--
-- KEYS
--   pauses                    hash: lane -> pause
--   list, kept, parked, bell  of the lane
-- ARGV
--   limit  ids to move at most
--   lane   its name
-- RETURNS
--   ids that are still to be moved
-- include lib/clock.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
local pauses = KEYS[1]
local limit = tonumber(ARGV[1])
local lane = lanes_from(KEYS, 2, ARGV, 2, 4)[1]

return fold(lane, is_parked(pauses, lane.name), limit)
