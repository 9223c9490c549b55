#!lua flags=allow-oom
-- One step of a scan: move the jobs that an order takes from the front of a lane to its backlog.
--
-- What stays goes to `kept`, in order, which claims read first; the last step gives it its name
-- back. The step ends early at a job that it cannot decide: its meta, and the function of a job from
-- a stock producer, stand only in what is serialized, which the caller reads. What it decided comes
-- with the next step.
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
--   limit      jobs to look at, at most, those among them that the caller decided
--   window     undecided jobs to return, at most
--   job_prefix, executions_prefix, limit_prefix, list_prefix   RQ's key prefixes
--   then id, 1 or 0, ...: what the caller decided
-- RETURNS
--   {state, jobs moved, jobs looked at, then for each undecided job: id, its function or '', first bytes of its data or '', its meta, '?' when that is long, its age in ms or 0}
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
-- include lib/payload.lua
local pauses, diverts, events, operation = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local step, head, identifier = ARGV[1], ARGV[2], ARGV[4]
local lane = {name = ARGV[3], list = KEYS[5], kept = KEYS[6], parked = KEYS[7], bell = KEYS[8]}
local limit_keys, at_work = KEYS[9], KEYS[10]
local limit, window = tonumber(ARGV[5]), tonumber(ARGV[6])
local rq = {
  job_prefix = ARGV[7], executions_prefix = ARGV[8], limit_prefix = ARGV[9], list_prefix = ARGV[10],
}
local decided, decided_count = {}, (#ARGV - 10) / 2
for index = 11, #ARGV, 2 do decided[ARGV[index]] = tonumber(ARGV[index + 1]) end

local WINDOW_BYTES = 262144

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
-- Few functions make up a lane, and few orders ask for the age of a job.
local needs_age, needs_meta = selection_asks(order.select, 'older_than_ms'), selection_asks(order.select, 'meta')
local needs_name = selection_asks(order.select, 'functions')
local names = needs_age and {'shedder', 'created_at', 'enqueued_at'} or {'shedder', 'created_at'}
local width = 1 + #names
local taken, left, undecided = {}, {}, {}
local taken_count, left_count = 0, 0

local function place(id, verdict)
  if verdict == 1 then
    taken_count = taken_count + 1
    taken[taken_count] = id
  else
    left_count = left_count + 1
    left[left_count] = id
  end
end

-- nothing of them is to be read again
if decided_count > 0 then
  for _, id in ipairs(redis.call('LRANGE', source, 0, math.min(decided_count, limit) - 1)) do
    if not decided[id] then break end
    place(id, decided[id])
  end
end
local ready = taken_count + left_count
local jobs = ready < limit and read_fields(source, ready, limit - ready, rq.job_prefix, names) or {}
local verdicts = {}

local function verdict_of(at)
  local created_at = jobs[at + 2]
  if not created_at and not has_data(rq.job_prefix .. jobs[at]) then return 0 end
  local name = function_of(jobs[at + 1], created_at)
  if needs_age then return matches_selection(order.select, name, nil, age_ms(jobs[at + 3], now)) end
  local verdict = verdicts[name or '']
  if not verdict then
    verdict = matches_selection(order.select, name, nil, 0)
    verdicts[name or ''] = verdict
  end
  return verdict
end

local function match(at)
  return decided[jobs[at]] or verdict_of(at)
end

local function undecided_from(first)
  local result, bytes = {}, 0
  for at = first, #jobs, width do
    if #result >= 5 * window or bytes > WINDOW_BYTES then break end
    if match(at) == -1 then
      local name = function_of(jobs[at + 1], jobs[at + 2])
      local data, meta, size = read_payload(rq.job_prefix .. jobs[at], needs_name and not name, needs_meta)
      local next_row = #result
      result[next_row + 1], result[next_row + 2] = jobs[at], needs_name and name or ''
      result[next_row + 3], result[next_row + 4] = data, meta
      result[next_row + 5] = needs_age and math.floor(age_ms(jobs[at + 3], now)) or 0
      bytes = bytes + size
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

for at = 1, #jobs, width do
  local verdict = match(at)
  if verdict == -1 then
    undecided = undecided_from(at)
    break
  end
  place(jobs[at], verdict)
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
-- what is undecided the next step tells again
local result = remember(operation, step, {state, #taken, looked_at})
for _, part in ipairs(undecided) do result[#result + 1] = part end
return result
