#!lua flags=allow-oom
-- Write how a deed outside Redis ended, or that nobody has seen its end, once its process is silent.
--
-- KEYS
--   mitigations        hash: event of the beginning -> ms until when its process is thought alive, and its unseen end
--   events, operation  see docs/reference/keys.md
-- ARGV
--   step   of the operation
--   event  of its beginning
--   head   JSON: how it ended; '' when the caller has not seen it, and only looks whether its process is silent
-- RETURNS
--   {event, ms of the server's clock}
--   {'', the same} when its process is thought alive, or its end was written down already
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
local mitigations, events, operation = KEYS[1], KEYS[2], KEYS[3]
local step, began, head = ARGV[1], ARGV[2], ARGV[3]

local replayed = recall(operation, step)
if replayed then return replayed end
local now = now_ms()
local standing = redis.call('HGET', mitigations, began)
if head == '' then
  local alive_until, unseen_end = string.match(standing or '', '^(%d+) (.+)$')
  if not standing or now < (tonumber(alive_until) or 0) then return {'', now} end
  head = unseen_end
end
-- before the first write: a key of another type undoes nothing
redis.call('XLEN', events)

redis.call('HDEL', mitigations, began)
-- a record that nobody can read tells nothing, and must not be looked at for ever
if not head then return {'', now} end
return remember(operation, step, {append_event(events, head, '{}', '{}'), now})
