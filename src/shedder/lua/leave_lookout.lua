#!lua flags=allow-oom
-- Leave the lookout, and call the next worker to it.
--
-- KEYS
--   lookout   string: the worker that looks for those that rest
--   relief    list: calls the next to the lookout
-- ARGV
--   worker    name of the worker that leaves
-- RETURNS
--   1 when the next was called, 0 when somebody else is on lookout
-- include lib/lease.lua
-- include lib/lookout.lua
local lookout, relief = KEYS[1], KEYS[2]

leave_lookout(lookout, relief, ARGV[1])
return 1 - redis.call('EXISTS', lookout)
