#!lua flags=allow-oom
-- One step of bringing back into a lane's list what stands in front of it though no order wants that.
--
-- KEYS
--   pauses, diverts, events, operation   see docs/reference/keys.md
--   list, kept, parked, bell             of the lane
-- ARGV
--   step   of the operation
--   head   JSON: what the event of the last step says
--   lane   its name
--   limit  ids to move at most
-- RETURNS
--   {state, event of the last step or ''}
--   state: 'more', 'done', 'none' (there is nothing, or a scan or a restore wants it so: nothing was done)
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
local pauses, diverts, events, operation = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local step, head, limit = ARGV[1], ARGV[2], tonumber(ARGV[4])
local lane = {name = ARGV[3], list = KEYS[5], kept = KEYS[6], parked = KEYS[7], bell = KEYS[8]}

local replayed = recall(operation, step)
if replayed then return replayed end
check_types(events, {lane})
local parked = is_parked(pauses, lane.name)

local function is_wanted()
  local orders = read_orders(diverts, lane.name)
  if orders == false then return true end
  for _, order in ipairs(orders or {}) do
    if order.scanning or order.restoring then return true end
  end
  return false
end

local is_there = redis.call('EXISTS', lane.kept) == 1 or (not parked and redis.call('EXISTS', lane.parked) == 1)
if not is_there or is_wanted() then return remember(operation, step, {'none', ''}) end
if fold(lane, parked, limit) > 0 then return remember(operation, step, {'more', ''}) end
local waiting = waiting_in(lane)
ring(lane.bell, waiting)
return remember(operation, step,
  {'done', write_event(events, head, {}, {[lane.name] = {waiting = waiting}})})
