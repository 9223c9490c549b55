#!lua flags=allow-oom
-- End the pause of lanes, and wake idle workers.
--
-- KEYS
--   pauses, events, operation   see docs/reference/keys.md
--   then for each lane: list, kept, parked, bell
-- ARGV
--   step  of the operation
--   head  JSON: what the event says
--   then for each lane: its name
-- RETURNS
--   {event or '' when none was paused, ms of the server's clock, then for each lane: record of the pause that ended or '', jobs waiting, jobs that still stand in front of its list}
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/controls.lua
-- include lib/expiry.lua
-- include lib/lanes.lua
-- include lib/lane.lua
local pauses, events, operation = KEYS[1], KEYS[2], KEYS[3]
local step, head = ARGV[1], ARGV[2]
local lanes = lanes_from(KEYS, 4, ARGV, 3, 4)

local replayed = recall(operation, step)
if replayed then return replayed end
check_types(events, lanes)
local now = now_ms()
local before, after, result, resumed = {}, {}, {'', now}, false

local function resume(lane)
  local record = redis.call('HGET', pauses, lane.name)
  local in_force = record and pause_in_force(record, now)
  if record and not in_force then end_expired_pause(pauses, events, lane.name, record) end
  redis.call('HDEL', pauses, lane.name)
  local waiting = waiting_in(lane)
  if in_force then
    resumed = true
    before[lane.name] = pause_as_told(true, decode(record) or {}, waiting)
    after[lane.name] = {paused = false, waiting = waiting}
  end
  fold(lane, false, 0)
  ring(lane.bell, waiting)
  result[#result + 1] = in_force and record or ''
  result[#result + 1] = waiting
  result[#result + 1] = redis.call('LLEN', lane.kept) + redis.call('LLEN', lane.parked)
end

for _, lane in ipairs(lanes) do resume(lane) end
if resumed then result[1] = write_event(events, head, before, after) end
return remember(operation, step, result)
