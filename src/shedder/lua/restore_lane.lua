#!lua flags=allow-oom
-- One step of putting a backlog back into its lane, where its jobs were: by time of enqueueing.
--
-- When nothing younger stands in the way the whole backlog is renamed, at a cost that does not
-- depend on its length. Otherwise lane and backlog are merged into `kept`, in bounded steps; claims
-- read it first. From the first step on the order takes nothing more. An unfinished restore is
-- finished by whoever does the upkeep.
--
-- KEYS
--   pauses, diverts, events, operation   see docs/reference/keys.md
--   list, kept, parked, bell             of the lane
--   at_work                              string: exists while somebody is at work on the lane
-- ARGV
--   step   of the operation
--   head   JSON: what the event says
--   lane   its name
--   order  id of the order
--   limit  jobs to look at, at most
--   job_prefix   RQ's key prefix of jobs
--   event  of the change that set the order, as an undo knows it; '' to restore it whoever has set it
-- RETURNS
--   {state, event or '', jobs put back in this step, jobs left}
--   state: 'more', 'done', 'ended' (no such order: nothing was done), 'fold' (fold the lane first), 'changed' (somebody has set it again since)
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/count.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
-- include lib/drain.lua
-- include lib/fields.lua
local pauses, diverts, events, operation = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local step, head, identifier = ARGV[1], ARGV[2], ARGV[4]
local limit, job_prefix, set_by = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local lane = {name = ARGV[3], list = KEYS[5], kept = KEYS[6], parked = KEYS[7], bell = KEYS[8]}
local at_work = KEYS[9]

local replayed = recall(operation, step)
if replayed then return replayed end
local orders = read_orders(diverts, lane.name)
local order, position = find_order(orders, identifier)
if not order then return remember(operation, step, {'ended', '', 0, 0}) end
if set_by ~= '' and order.event and order.event ~= set_by then
  return remember(operation, step, {'changed', '', 0, 0})
end
check_types(events, {lane})
backlog_length(order)
note_work(at_work)
if not order.restoring and redis.call('EXISTS', lane.kept) == 1 then return {'fold', '', 0, 0} end
local parked = is_parked(pauses, lane.name)
local main = (parked or redis.call('EXISTS', lane.parked) == 1) and lane.parked or lane.list

local function enqueued_at(id)
  return redis.call('HGET', job_prefix .. id, 'enqueued_at') or ''
end

local function end_now()
  table.remove(orders, position)
  write_orders(diverts, lane.name, orders)
  local waiting = waiting_in(lane)
  ring(lane.bell, waiting)
  redis.call('DEL', order.bucket, order.skipped)
  return write_event(events, head, {[lane.name] = {backlog = order.restored or 0}},
    {[lane.name] = {backlog = 0, waiting = waiting}})
end

local function join_waiters()
  for _ = 1, redis.call('LLEN', order.slot) do
    redis.call('LMOVE', order.slot, order.front, 'RIGHT', 'LEFT')
  end
end

-- true when the last of the backlog is not younger than the first of the lane
local function is_all_older()
  if redis.call('EXISTS', main) == 0 then return true end
  local last = redis.call('LINDEX', order.rest, -1) or redis.call('LINDEX', order.front, -1)
  local first = redis.call('LINDEX', main, 0)
  return enqueued_at(last) <= enqueued_at(first)
end

-- the parts of the backlog become the front of the lane: at most three names in a row
local function rename_back()
  local parts = {}
  for _, part in ipairs({order.front, order.rest}) do
    if redis.call('EXISTS', part) == 1 then parts[#parts + 1] = part end
  end
  local free = {}
  if redis.call('EXISTS', main) == 0 then free = {lane.kept, main} else free = {lane.kept} end
  if #parts > #free then return false end
  for index = #parts, 1, -1 do redis.call('RENAME', parts[index], free[#free - (#parts - index)]) end
  return true
end

local function part_to_merge()
  return redis.call('EXISTS', order.front) == 1 and order.front or order.rest
end

-- How much of a step's window is the backlog's: in proportion, so that both sides are used up together.
local function window_of(part)
  local ahead, behind = redis.call('LLEN', part), redis.call('LLEN', main)
  local width = math.ceil(limit * ahead / math.max(1, ahead + behind))
  return math.max(1, math.min(width, limit - 1))
end

-- A window of each side is merged until one of them is used up; what is left of the other is read again.
local function merge()
  local part = part_to_merge()
  local width = window_of(part)
  local backlog = read_fields(part, 0, width, job_prefix, {'enqueued_at'})
  local waiting = read_fields(main, 0, math.max(1, limit - width), job_prefix, {'enqueued_at'})
  local backlog_size, waiting_size = #backlog, #waiting
  local merged, restored, passed = {}, 0, 0
  while 2 * restored < backlog_size and (2 * passed < waiting_size or waiting_size == 0) do
    local older, next_at = backlog[2 * restored + 2] or '', waiting[2 * passed + 2] or ''
    if waiting_size == 0 or older <= next_at then
      merged[restored + passed + 1] = backlog[2 * restored + 1]
      restored = restored + 1
    else
      merged[restored + passed + 1] = waiting[2 * passed + 1]
      passed = passed + 1
    end
  end
  push_all(lane.kept, merged)
  if restored > 0 then redis.call('LTRIM', part, restored, -1) end
  if passed > 0 then redis.call('LTRIM', main, passed, -1) end
  return restored
end

if not order.restoring then
  join_waiters()
  order.restoring, order.drain, order.scanning = true, nil, nil
  order.restored = backlog_length(order)
  local all = order.restored
  if all == 0 or (is_all_older() and rename_back()) then
    return remember(operation, step, {'done', end_now(), all, 0})
  end
  write_orders(diverts, lane.name, orders)
end
local moved = merge()
local left = backlog_length(order)
if left > 0 then return remember(operation, step, {'more', '', moved, left}) end
return remember(operation, step, {'done', end_now(), moved, 0})
