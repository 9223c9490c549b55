#!lua flags=allow-oom
-- Write that a deed outside Redis begins, and how its end is told when nobody is left to tell it.
--
-- KEYS
--   mitigations        hash: event of the beginning -> ms until when its process is thought alive, and that end
--   events, operation  see docs/reference/keys.md
-- ARGV
--   step    of the operation
--   head    JSON: what the event says
--   end     JSON: what the event of an end says that nobody has seen
--   length  ms for which its process is thought alive without a sign of life
-- RETURNS
--   {event, ms of the server's clock}
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
local mitigations, events, operation = KEYS[1], KEYS[2], KEYS[3]
local step, head, unseen_end, length = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local replayed = recall(operation, step)
if replayed then return replayed end
-- before the first write: a key of another type undoes nothing
redis.call('HLEN', mitigations)
redis.call('XLEN', events)

local now = now_ms()
local event = append_event(events, head, '{}', '{}')
redis.call('HSET', mitigations, event, string.format('%.0f %s', now + length, unseen_end))
return remember(operation, step, {event, now})
