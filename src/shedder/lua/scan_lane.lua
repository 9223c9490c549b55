#!lua flags=allow-oom
-- One step of a scan: move the jobs that an order takes from the front of a lane to its backlog.
--
-- What stays goes to `kept`, in order, which claims read first; the last step gives it its name
-- back. The step ends early at a job that it cannot decide: function and meta of a job from a stock
-- producer stand only in its serialized data, which the caller reads.
--
-- KEYS
--   pauses, diverts, events, operation   see docs/reference/keys.md
--   list, kept, parked, bell             of the lane
--   limit_keys                           set: keys of RQ's own rate limits
--   at_work                              string: exists while somebody is at work on the lane
-- ARGV
--   step       of the operation
--   head       JSON: what the last event says
--   lane       its name
--   order      id of the order
--   limit      jobs to look at, at most
--   window     undecided jobs to return, at most
--   job_prefix, executions_prefix, limit_prefix, list_prefix   RQ's key prefixes
--   then id, 1 or 0, ...: what the caller decided
-- RETURNS
--   {state, jobs moved, jobs looked at, then for each undecided job: id, first bytes of its data, its meta}
--   state: 'more', 'done' (the scan is complete), 'ended' (no such order, or its scan is over: nothing was done)
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
-- include lib/slot.lua
-- include lib/selection.lua
-- include lib/job.lua
-- include lib/fields.lua
local pauses, diverts, events, operation = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local step, head, identifier = ARGV[1], ARGV[2], ARGV[4]
local lane = {name = ARGV[3], list = KEYS[5], kept = KEYS[6], parked = KEYS[7], bell = KEYS[8]}
local limit_keys, at_work = KEYS[9], KEYS[10]
local limit, window = tonumber(ARGV[5]), tonumber(ARGV[6])
local rq = {
  job_prefix = ARGV[7], executions_prefix = ARGV[8], limit_prefix = ARGV[9], list_prefix = ARGV[10],
}
local decided = {}
for index = 11, #ARGV, 2 do decided[ARGV[index]] = tonumber(ARGV[index + 1]) end

local DATA_HEAD, META_LIMIT, WINDOW_BYTES = 1024, 65536, 262144

local replayed = recall(operation, step)
if replayed then return replayed end
local orders = read_orders(diverts, lane.name)
local order = orders and find_order(orders, identifier)
-- a scan that another process finished is not walked through again
if not order or order.restoring or not order.scanning then return remember(operation, step, {'ended', 0, 0}) end
local now = now_precise()
check_types(events, {lane})
backlog_length(order)
note_work(at_work)

local source = redis.call('EXISTS', lane.parked) == 1 and lane.parked or lane.list
-- Most orders ask for the function alone, and few functions make up a lane.
local by_name_only = is_by_name_only(order.select)
local names = by_name_only and {'shedder', 'created_at'} or {'shedder', 'created_at', 'enqueued_at'}
local width = 1 + #names
local jobs = read_fields(source, 0, limit, rq.job_prefix, names)
local verdicts = {}

local function verdict_of(at)
  local created_at = jobs[at + 2]
  if not created_at then return 0 end
  local name = function_of(jobs[at + 1], created_at)
  if not by_name_only then
    return matches_selection(order.select, name, nil, age_ms(jobs[at + 3], now))
  elseif not name then
    return -1
  end
  local verdict = verdicts[name]
  if not verdict then
    verdict = matches_selection(order.select, name, nil, 0)
    verdicts[name] = verdict
  end
  return verdict
end

local function match(at)
  return decided[jobs[at]] or verdict_of(at)
end

local function undecided_from(first)
  local result, bytes = {}, 0
  for at = first, #jobs, width do
    if #result >= 3 * window or bytes > WINDOW_BYTES then break end
    if match(at) == -1 then
      local fields = redis.call('HMGET', rq.job_prefix .. jobs[at], 'data', 'meta')
      local data = string.sub(fields[1] or '', 1, DATA_HEAD)
      local meta = fields[2] or ''
      if #meta > META_LIMIT then meta = '?' end
      result[#result + 1], result[#result + 2], result[#result + 3] = jobs[at], data, meta
      bytes = bytes + #data + #meta
    end
  end
  return result
end

local function free_slots(ids)
  for _, id in ipairs(ids) do
    local fields = redis.call('HMGET', rq.job_prefix .. id, 'rate_limit_key', 'rate_limit_concurrency')
    free_slot(rq, now, id, fields[1], fields[2])
  end
end

local taken, left, undecided = {}, {}, {}
local taken_count, left_count = 0, 0
for at = 1, #jobs, width do
  local verdict = match(at)
  if verdict == 1 then
    taken_count = taken_count + 1
    taken[taken_count] = jobs[at]
  elseif verdict == -1 then
    undecided = undecided_from(at)
    break
  else
    left_count = left_count + 1
    left[left_count] = jobs[at]
  end
end
local looked_at = taken_count + left_count
push_all(order.rest, taken)
push_all(lane.kept, left)
if looked_at > 0 then redis.call('LTRIM', source, looked_at, -1) end
-- the ids have left the list before a slot promotes another job onto it
if redis.call('EXISTS', limit_keys) == 1 then free_slots(taken) end

local function finish()
  fold(lane, is_parked(pauses, lane.name), 0)
  order.scanning = nil
  write_orders(diverts, lane.name, orders)
  write_event(events, head, {},
    {[lane.name] = {backlog = backlog_length(order), waiting = waiting_in(lane)}})
end

local state = 'more'
if redis.call('EXISTS', lane.list, lane.parked) == 0 then
  finish()
  state = 'done'
end
return remember(operation, step, {state, #taken, looked_at, unpack(undecided)})
