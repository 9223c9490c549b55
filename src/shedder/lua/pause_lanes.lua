#!lua flags=allow-oom
-- Pause lanes: from the end of this step on, no job of theirs passes the gate.
--
-- KEYS
--   pauses, events, operation   see docs/reference/keys.md
--   then for each lane: list, kept, parked, bell
-- ARGV
--   step      of the operation
--   head      JSON: what the event says
--   duration  ms until the pause ends by itself, 0 for never
--   by, why   who and for which reason
--   then for each lane: its name
-- RETURNS
--   {event, ms of the server's clock, then for each lane: record that was replaced or '', jobs waiting}
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/controls.lua
-- include lib/expiry.lua
-- include lib/lanes.lua
-- include lib/lane.lua
local pauses, events, operation = KEYS[1], KEYS[2], KEYS[3]
local step, head, duration, by, why = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local lanes = lanes_from(KEYS, 4, ARGV, 6, 4)

local replayed = recall(operation, step)
if replayed then return replayed end
check_types(events, lanes)
local now = now_ms()
local before, after, result, records = {}, {}, {'', now}, {}

local function pause(lane)
  local previous = redis.call('HGET', pauses, lane.name)
  local in_force = previous and pause_in_force(previous, now)
  if previous and not in_force then end_expired_pause(pauses, events, lane.name, previous) end
  local old = in_force and decode(previous) or {}
  local record = {v = RECORD_VERSION, by = by, why = why, since = old.since or now, parked = old.parked}
  if duration > 0 then record['until'] = now + duration end
  records[lane.name] = record
  local waiting = waiting_in(lane)
  before[lane.name] = pause_as_told(in_force, old, waiting)
  after[lane.name] = {paused = true, ['until'] = record['until'], waiting = waiting}
  result[#result + 1] = in_force and previous or ''
  result[#result + 1] = waiting
end

for _, lane in ipairs(lanes) do pause(lane) end
result[1] = write_event(events, head, before, after)
for name, record in pairs(records) do
  record.event = result[1]
  redis.call('HSET', pauses, name, cjson.encode(record))
end
return remember(operation, step, result)
