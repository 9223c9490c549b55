#!lua flags=allow-oom
-- One step of taking a retry back: what has not started is failed again, as it was before.
--
-- The drain stops with the first step. What a claim has in hand, and what was released into the list
-- of stock workers, starts.
--
-- KEYS
--   diverts, events, operation   see docs/reference/keys.md
--   list, kept, parked, bell     of the lane
-- ARGV
--   step    of the operation
--   head    JSON: what the event says
--   lane    its name
--   order   id of the order
--   limit   jobs to look at, at most
--   job_prefix, failed_prefix   RQ's key prefixes of jobs, and of its registries of failed jobs
-- RETURNS
--   {state, event or '', jobs put back in this step, jobs that were no more or ended elsewhere, jobs left}
--   state: 'more', 'done', 'ended' (no such order: nothing was done)
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
-- include lib/drain.lua
local diverts, events, operation = KEYS[1], KEYS[2], KEYS[3]
local step, head, identifier, limit = ARGV[1], ARGV[2], ARGV[4], tonumber(ARGV[5])
local job_prefix, failed_prefix = ARGV[6], ARGV[7]
local lane = {name = ARGV[3], list = KEYS[4], kept = KEYS[5], parked = KEYS[6], bell = KEYS[7]}

local replayed = recall(operation, step)
if replayed then return replayed end
local orders = read_orders(diverts, lane.name)
local order = find_order(orders, identifier)
if not order or not order.retry then return remember(operation, step, {'ended', '', 0, 0, 0}) end
check_types(events, {lane})
check_order_types(order)
if order.drain or not order.returned then
  order.drain, order.returned = nil, order.returned or 0
  write_orders(diverts, lane.name, orders)
end

local now, LEAST_MS = now_ms(), 3600000

-- a time that is over by now would take the job away at once
local function expire_at(id, at)
  if at <= 0 then return end
  for _, key in ipairs({job_prefix .. id, job_prefix .. id .. ':dependents', job_prefix .. ':' .. id .. ':dependencies'}) do
    redis.call('PEXPIREAT', key, math.max(at, now + LEAST_MS))
  end
end

local function score_of(was)
  local score = tonumber(was.score)
  return score > 0 and string.format('%.17g', math.max(score, math.floor((now + LEAST_MS) / 1000))) or was.score
end

-- whether it is among the failed again; of a job that somebody deleted, cancelled or enqueued anew nothing is to do
local function put_back(id)
  local job = job_prefix .. id
  local found = redis.call('HMGET', job, 'status', 'shedder_failed', 'shedder_exc_info', 'shedder_retries', 'created_at')
  local was = found[2] and decode(found[2])
  -- another job may have been enqueued under the id, into the fields of this one
  local is_same = was and was.order == identifier and was.created == found[5]
  if found[1] ~= 'queued' or not is_same then return false end
  redis.call('ZADD', failed_prefix .. was.source, score_of(was), id)
  redis.call('HSET', job, 'status', 'failed', 'origin', was.origin, 'started_at', was.started, 'ended_at', was.ended,
    'shedder_retries', math.max(0, (tonumber(found[4]) or 1) - 1))
  if found[3] then redis.call('HSET', job, 'exc_info', found[3]) end
  redis.call('HDEL', job, 'shedder_failed', 'shedder_exc_info')
  expire_at(id, was.expires)
  return true
end

local done, lost = 0, 0
for _ = 1, limit do
  local source = order.rest
  if redis.call('EXISTS', source) == 0 then source = order.front end
  if redis.call('EXISTS', source) == 0 then source = order.slot end
  local id = redis.call('LINDEX', source, -1)
  if not id then break end
  -- an error undoes nothing: the id stays in the backlog until it is among the failed
  if put_back(id) then done = done + 1 else lost = lost + 1 end
  redis.call('RPOP', source)
end
order.returned = order.returned + done
local left = backlog_length(order)
if left > 0 then
  write_orders(diverts, lane.name, orders)
  return remember(operation, step, {'more', '', done, lost, left})
end
local returned = order.returned
remove_order(diverts, lane.name, orders, order)
local event = write_event(events, head, {[lane.name] = {backlog = returned}}, {[lane.name] = {backlog = 0, failed = returned}})
return remember(operation, step, {'done', event, done, lost, 0})
