#!lua flags=allow-oom
-- The gate: decide whether a claimed job starts, and mark it started as RQ does, in one step.
--
-- Run in the process that is about to run the job, after its function was imported.
--
-- KEYS
--   claims, pauses, diverts, starting, meters   see docs/reference/keys.md
--   job      hash of the job
--   outcomes hash: what is counted by label
--   started  sorted set: RQ's registry of started jobs, which may be left out
-- ARGV
--   member     the claim
--   mode       'start'; 'check' to decide about diverts only and start nothing; or 'fail' to mark the
--              job started whatever the controls say, for a worker that will fail it at once
--   timestamp  the worker's time, as RQ writes it
--   name       function of the job, empty when its data cannot be read
--   meta       JSON: fields of the job's meta as text
--   execution  id of this start in RQ's registry, empty when it has none
--   job_prefix, executions_prefix, limit_prefix, list_prefix   RQ's key prefixes
--   label      what the policy calls the job, when it says how long such a job may wait; else empty
--   tolerance  how long it may wait, in milliseconds
-- RETURNS
--   {'started'}            the job runs now, and the claim has ended
--   {'kept'}               mode 'check': no divert takes it
--   {'lost'}               the claim is not ours any more: another worker has the job
--   {'paused'}             back at the front of its lane
--   {'diverted', order}    in the backlog
--   {'dropped', status}    it was cancelled, deleted or is in a list twice
-- include lib/clock.lua
-- include lib/count.lua
-- include lib/token.lua
local claims, pauses, diverts, starting, meters, job, outcomes, registry =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local member, mode, timestamp, name, meta, execution =
  ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local label, tolerance = ARGV[11], tonumber(ARGV[12])
local rq = {
  job_prefix = ARGV[7], executions_prefix = ARGV[8], limit_prefix = ARGV[9], list_prefix = ARGV[10],
}

if not redis.call('ZSCORE', claims, member) then
  -- its holder asks again when the reply was lost: the job is started, and nobody else has it
  return {redis.call('HEXISTS', starting, member) == 1 and 'started' or 'lost'}
end
local now = now_precise()
local claim = unpack_claim(member)
local fields = redis.call('HMGET', job, 'status', 'data', 'enqueued_at', 'rate_limit_key',
  'rate_limit_concurrency')
local status = fields[1]

local FORMER_EXECUTIONS = 100

-- From the two counts it is told which share of the work starts in time.
local function count_label()
  local since = iso_to_ms(fields[3])
  local is_in_time = since and now - since <= tolerance
  count(outcomes, 'label:' .. label .. (is_in_time and ':in_tolerance' or ':out_of_tolerance'), 1)
end

-- RQ fails or repeats a started job when any of its executions expires. Those of workers that died
-- before it started would do that to a job that is well.
local function forget_former_executions()
  if not registry then return end
  local executions = rq.executions_prefix .. claim.id
  for _, former in ipairs(redis.call('ZRANGE', executions, 0, FORMER_EXECUTIONS)) do
    if former ~= execution then
      redis.call('ZREM', registry, claim.id .. ':' .. former)
      redis.call('ZREM', executions, former)
    end
  end
end

local function start()
  -- first what could fail because somebody made a key something else: an error undoes nothing
  count(meters, claim.lane.name .. ':started', 1)
  if label ~= '' then count_label() end
  -- no function of a job that fails will ever report that it runs
  if mode == 'start' then redis.call('HSET', starting, member, math.floor(now)) end
  redis.call('ZREM', claims, member)
  forget_former_executions()
  redis.call('HSET', job, 'status', 'started', 'started_at', timestamp, 'last_heartbeat', timestamp,
    'worker_name', claim.worker)
  redis.call('PERSIST', job)
  return {'started'}
end

-- The everyday case by itself, before what only an incident needs is so much as defined.
local is_plain = mode == 'start' and status == 'queued' and fields[2] and claim.order == ''
if is_plain and redis.call('EXISTS', pauses, diverts) == 0 then return start() end
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
-- include lib/claim.lua
-- include lib/slot.lua
-- include lib/selection.lua
-- include lib/job.lua

local function drop(cause)
  redis.call('ZREM', claims, member)
  forget_running(find_order(read_orders(diverts, claim.lane.name), claim.order), member)
  count(meters, claim.lane.name .. ':dropped:' .. cause, 1)
  return {'dropped', cause}
end

-- A job that had been started by a worker that died has no other execution than that of this start.
-- The start of a twin has removed ours.
local function is_twin()
  if status ~= 'started' then return false end
  local executions = rq.executions_prefix .. claim.id
  local own = execution == '' or redis.call('ZSCORE', executions, execution)
  return redis.call('ZCARD', executions) > (own and 1 or 0)
end

-- Behind the backlog what arrived after the divert; in front of it what was in hand before.
local function divert_to(order, own)
  forget_running(own, member)
  local end_of_backlog = claim.claimed_at <= order.since and 'LPUSH' or 'RPUSH'
  redis.call(end_of_backlog, end_of_backlog == 'LPUSH' and order.front or order.rest, claim.id)
  redis.call('ZREM', claims, member)
  free_slot(rq, now, claim.id, fields[4], fields[5])
  return {'diverted', order.id}
end

if not fields[2] then return drop('gone') end
if NOT_WAITING[status or ''] then return drop(status) end
if is_twin() then return drop('twin') end

if mode == 'start' and pause_in_force(redis.call('HGET', pauses, claim.lane.name), now) then
  give_back(claims, pauses, diverts, member)
  return {'paused'}
end
local orders = read_orders(diverts, claim.lane.name)
local own = find_order(orders, claim.order)
if orders and own and own.limit then orders = diverts_of(orders) end
if mode ~= 'fail' and orders and (claim.order == '' or (own and own.limit)) then
  local known = name ~= '' and name or nil
  local order = order_for(orders, known, decode(meta) or {}, age_ms(fields[3], now))
  if order then return divert_to(order, own) end
end
if mode == 'check' then return {'kept'} end

return start()
