#!lua
-- Put the id of a saved job where the controls of its lane say.
--
-- KEYS
--   pauses, diverts   see docs/reference/keys.md
--   list, kept, parked, bell  of the lane
-- ARGV
--   id        of the job
--   lane      name of the lane
--   at_front  1 or 0
--   name      function of the job, empty when it is not known
--   meta      JSON: fields of the job's meta as text
-- RETURNS
--   1
-- include lib/clock.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
-- include lib/selection.lua
-- include lib/job.lua
-- include lib/arrival.lua
local pauses, diverts = KEYS[1], KEYS[2]
local lane = {name = ARGV[2], list = KEYS[3], kept = KEYS[4], parked = KEYS[5], bell = KEYS[6]}
local id, at_front, name, meta = ARGV[1], ARGV[3] == '1', ARGV[4], ARGV[5]

arrive(lane, pauses, diverts, id, at_front, name, meta)
return 1
