#!lua flags=allow-oom
-- Write an event that tells of something outside Redis.
--
-- KEYS
--   events, operation  see docs/reference/keys.md
-- ARGV
--   step  of the operation
--   head  JSON: what the event says
-- RETURNS
--   {event, ms of the server's clock}
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
local events, operation = KEYS[1], KEYS[2]
local step, head = ARGV[1], ARGV[2]

local replayed = recall(operation, step)
if replayed then return replayed end
local now = now_ms()
return remember(operation, step, {append_event(events, head, '{}', '{}'), now})
