#!lua flags=allow-oom
-- Put a list of a backlog that no record names any more in front of its lane.
--
-- KEYS
--   diverts, events, operation   see docs/reference/keys.md
--   list, kept, parked, bell     of the lane
--   backlog                      list: a part of the backlog
--   drain, skipped               what a drain of it wrote down
-- ARGV
--   step  of the operation
--   head  JSON: what the event says
--   lane  its name
-- RETURNS
--   {event or '' when there are none to put back, jobs put back}
--   none are put back while `kept` exists, an order is at work on the lane, or a record names the list
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/clock.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
local diverts, events, operation, backlog = KEYS[1], KEYS[2], KEYS[3], KEYS[8]
local drain, skipped = KEYS[9], KEYS[10]
local step, head = ARGV[1], ARGV[2]
local lane = {name = ARGV[3], list = KEYS[4], kept = KEYS[5], parked = KEYS[6], bell = KEYS[7]}

local replayed = recall(operation, step)
if replayed then return replayed end
check_types(events, {lane})
local jobs = redis.call('LLEN', backlog)

local function is_free()
  if jobs == 0 or redis.call('EXISTS', lane.kept) == 1 then return false end
  local orders = read_orders(diverts, lane.name)
  if orders == false then return false end
  for _, order in ipairs(orders or {}) do
    if order.scanning or order.restoring then return false end
    if order.front == backlog or order.rest == backlog or order.slot == backlog then return false end
  end
  return true
end

if not is_free() then return remember(operation, step, {'', 0}) end
local before = waiting_in(lane)
redis.call('RENAME', backlog, lane.kept)
ring(lane.bell, jobs)
redis.call('DEL', drain, skipped) -- nobody else knows their names any more
local event = write_event(events, head, {[lane.name] = {backlog = jobs, waiting = before}},
  {[lane.name] = {backlog = 0, jobs = jobs, waiting = waiting_in(lane)}})
return remember(operation, step, {event, jobs})
