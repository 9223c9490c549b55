#!lua flags=allow-oom
-- Remove one of two entries of a job that waits in two places, while the other one is seen to stay.
--
-- KEYS
--   events, operation, claims   see docs/reference/keys.md
--   stays                       list where the entry is that stays, or the claims
--   goes                        list where the entry is that goes: it may be the same, and then the later one goes
-- ARGV
--   step   of the operation
--   head   JSON: what the event says
--   lane   name of the lane in which the entry is that goes
--   id     of the job
--   depth  entries to look at, at each end of a list and among the claims
-- RETURNS
--   {event, or '' when one of the two is not there any more or stands deeper in a list}
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/token.lua
-- include lib/seek.lua
local events, operation, claims, stays, goes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local step, head, lane, id, depth = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])

local replayed = recall(operation, step)
if replayed then return replayed end
redis.call('XLEN', events)

local function is_claimed()
  local found = {}
  note_claims(found, claims, depth)
  return found[id]
end

local position, is_near_end, is_other = last_position(goes, id, depth)
local stands
if stays == claims then
  stands = is_claimed()
elseif stays == goes then
  stands = is_other
else
  stands = last_position(stays, id, depth)
end
if not position or not stands then return remember(operation, step, {''}) end

-- From the end the first one met is the last one. From the front the last one gets a name of its
-- own first, which no id can have, so that it is met first.
if is_near_end then
  redis.call('LREM', goes, -1, id)
else
  local mark = id .. '\0twin'
  redis.call('LSET', goes, position, mark)
  redis.call('LREM', goes, 1, mark)
end
local event = write_event(events, head, {[lane] = {entries = 2}}, {[lane] = {entries = 1, names = {id}}})
return remember(operation, step, {event})
