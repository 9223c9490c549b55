#!lua flags=allow-oom
-- Release a part of a draining backlog into its lane's list, for lanes that stock workers serve.
--
-- What is released and not yet started is what still stands in the list up to the last released
-- job. Arrivals behind that job go to the end of the backlog first, so that they stay behind.
--
-- KEYS
--   pauses, diverts, events      see docs/reference/keys.md
--   list, kept, parked, bell     of the lane
--   policy, stale                the policy in force, and the list of jobs that were set aside
--   unseen                       list: ids of the lane under which no job was seen
--   meters                       counters
-- ARGV
--   lane   its name
--   order  id of the order
--   cap    jobs that may be released and not started
--   limit  jobs to look at, at most
--   job_prefix, executions_prefix, limit_prefix, list_prefix   RQ's key prefixes
-- RETURNS
--   {state, jobs released in this step, jobs released and not started, jobs left}
--   state: 'draining', 'waiting' (for tokens, for workers, or until the lane is resumed), 'ended'
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/count.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
-- include lib/slot.lua
-- include lib/job.lua
-- include lib/drain.lua
-- include lib/stale.lua
-- include lib/unseen.lua
local pauses, diverts, events = KEYS[1], KEYS[2], KEYS[3]
local identifier, cap, limit = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local lane = {name = ARGV[1], list = KEYS[4], kept = KEYS[5], parked = KEYS[6], bell = KEYS[7]}
local policy, stale, unseen, meters = KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local rq = {
  job_prefix = ARGV[5], executions_prefix = ARGV[6], limit_prefix = ARGV[7], list_prefix = ARGV[8],
}

local orders = read_orders(diverts, lane.name)
local order = orders and find_order(orders, identifier)
if not order or not order.drain then return {'ended', 0, 0, 0} end
check_types(events, {lane})
redis.call('LLEN', stale)
redis.call('LLEN', unseen)
backlog_length(order)
local now = now_precise()
if pause_in_force(redis.call('HGET', pauses, lane.name), now) then
  return {'waiting', 0, redis.call('LLEN', lane.list), backlog_length(order)}
end

local function sweep_arrivals()
  if not order.whole then return end
  local last = redis.call('HGET', order.bucket, 'last_released')
  local at = last and redis.call('LPOS', lane.list, last, 'MAXLEN', cap)
  local released = at and redis.call('LPOP', lane.list, at + 1) or {}
  push_all(order.rest, redis.call('LPOP', lane.list, limit) or {})
  for index = #released, 1, -1 do redis.call('LPUSH', lane.list, released[index]) end
end

local after, set_aside = stale_limit(policy), 0

local function release(id)
  local fields = redis.call('HMGET', rq.job_prefix .. id, 'status', 'data', 'rate_limit_key',
    'rate_limit_concurrency', 'enqueued_at')
  local cause
  if not fields[2] then cause = 'gone' elseif not is_runnable(rq, id, fields[1]) then cause = fields[1] end
  if cause then
    if cause == 'gone' then set_aside_unseen(unseen, id) end
    note_skipped(order, id, cause)
    return 0
  end
  if is_stale(after, fields[5], now) then
    free_slot(rq, now, id, fields[3], fields[4])
    redis.call('RPUSH', stale, id)
    set_aside = set_aside + 1
    return 0
  end
  if not take_slot(rq, now, id, fields[3], fields[4]) then
    wait_for_slot(rq, now, id, fields[3])
    return 0
  end
  redis.call('RPUSH', lane.list, id)
  redis.call('HSET', order.bucket, 'last_released', id)
  return 1
end

sweep_arrivals()
local tokens = settle(order, now)
local outstanding = redis.call('LLEN', lane.list)
local released = 0
for _ = 1, limit do
  if tokens < 1 or outstanding + released >= cap then break end
  local id = redis.call('LPOP', order.slot) or redis.call('LPOP', order.front)
    or redis.call('LPOP', order.rest)
  if not id then break end
  local one = release(id)
  released, tokens = released + one, tokens - one
end
store_tokens(order, tokens, now)
note_stale(events, lane.name, order, stale, set_aside)
if released > 0 then
  count(order.bucket, 'released', released)
  count(meters, lane.name .. ':drained', released)
end
local left = backlog_length(order)
if left == 0 and not order.drain.stay and not order.scanning then
  end_order(events, diverts, lane.name, orders, order, 'drained', now)
  return {'ended', released, outstanding + released, 0}
end
return {released > 0 and 'draining' or 'waiting', released, outstanding + released, left}
