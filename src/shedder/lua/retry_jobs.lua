#!lua flags=allow-oom
-- Move failed jobs from RQ's registry to the backlog of a retry, whose order this sets with the first of them.
--
-- What RQ's own requeue resets is reset, but for the time of the first enqueue; what an undo needs is
-- kept in the job's hash. The order takes nothing that arrives, and drains only when that is ordered.
--
-- KEYS
--   diverts, events, operation   see docs/reference/keys.md
--   failed, queues               sorted set: RQ's registry of failed jobs; set: RQ's queues
--   list, kept, parked, bell, front, rest, slot, bucket, skipped, running   of the lane
-- ARGV
--   step        of the operation
--   head        JSON: what the event says
--   order       id of the order
--   by, why     who and for which reason
--   selection   JSON: what no job meets
--   lane        its name
--   source      name of the lane whose registry it is
--   job_prefix  RQ's key prefix of jobs
--   then the id of each job, the newest failure first
-- RETURNS
--   {event of the order or '' when there is none, ms of the server's clock, jobs moved, jobs in the backlog, then for each job that was skipped: id, cause}
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
-- include lib/drain.lua
local diverts, events, operation, failed, queues = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local step, head, identifier, by, why, selection = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local source, job_prefix = ARGV[8], ARGV[9]
local lane = {name = ARGV[7], list = KEYS[6], kept = KEYS[7], parked = KEYS[8], bell = KEYS[9]}
local own = {front = KEYS[10], rest = KEYS[11], slot = KEYS[12], bucket = KEYS[13], skipped = KEYS[14], running = KEYS[15]}
local jobs = {}
for index = 10, #ARGV do jobs[#jobs + 1] = ARGV[index] end

local replayed = recall(operation, step)
if replayed then return replayed end
check_types(events, {lane})
redis.call('SCARD', queues)
local now, before = now_ms(), redis.call('ZCARD', failed)
local unreadable = unreadable_orders(diverts, {lane})
if unreadable then return redis.error_reply('UNREADABLE ' .. unreadable) end
local orders = read_orders(diverts, lane.name) or {}
local order = find_order(orders, identifier)
local is_new = not order
order = order or {
  v = 1, id = identifier, by = by, why = why, since = now, whole = false, retry = true,
  selection = selection, select = cjson.decode(selection), scanning = false, front = own.front, rest = own.rest,
  slot = own.slot, bucket = own.bucket, skipped = own.skipped, running = own.running,
}
check_order_types(order)
local result, moved = {order.event or '', now, 0, 0}, {}

-- RQ keeps a failed job for a year unless it says something else, and ends that when the job starts.
-- What is kept for so long waits with it; what would be gone sooner does not expire while it waits.
local LONG_ENOUGH = now / 1000 + 7776000

local function expire_as(id, ttl, expires)
  for _, key in ipairs({job_prefix .. id, job_prefix .. id .. ':dependents', job_prefix .. ':' .. id .. ':dependencies'}) do
    if ttl then redis.call('EXPIRE', key, ttl) elseif expires > 0 then redis.call('PERSIST', key) end
  end
end

-- until when RQ keeps the job, where that changes
local function let_wait(id, score, ttl)
  local own = tonumber(ttl)
  if own and own <= 0 then own = nil end
  if tonumber(score) > LONG_ENOUGH and not own then return 0 end
  local expires = redis.call('PEXPIRETIME', job_prefix .. id)
  expire_as(id, own, expires)
  return expires
end

-- What RQ kept in the hash before it had results; what is left of a retry before goes.
local function keep_report(job, report, kept)
  if report then redis.call('HSET', job, 'shedder_exc_info', report) end
  if report then redis.call('HDEL', job, 'exc_info') elseif kept then redis.call('HDEL', job, 'shedder_exc_info') end
end

-- why a job cannot be brought back, or nil once its hash says that it waits
local function reset(id, score)
  local job = job_prefix .. id
  local found = redis.call('HMGET', job, 'status', 'origin', 'started_at', 'ended_at', 'exc_info', 'ttl',
    'shedder_retries', 'shedder_exc_info', 'created_at')
  if not found[9] then return 'gone' end
  if found[1] ~= 'failed' then return found[1] or 'gone' end
  if not score then return 'taken' end
  local was = cjson.encode({order = identifier, score = score, source = source, origin = found[2] or source,
    started = found[3] or '', ended = found[4] or '', expires = let_wait(id, score, found[6]), created = found[9]})
  redis.call('HSET', job, 'status', 'queued', 'started_at', '', 'ended_at', '', 'shedder_failed', was,
    'shedder_retries', (tonumber(found[7]) or 0) + 1)
  if found[2] ~= lane.name then redis.call('HSET', job, 'origin', lane.name) end
  if found[5] or found[8] then keep_report(job, found[5], found[8]) end
  moved[#moved + 1] = id
end

local scores = #jobs > 0 and redis.call('ZMSCORE', failed, unpack(jobs)) or {}
for index, id in ipairs(jobs) do
  local done, cause = pcall(reset, id, scores[index])
  if not done then cause = 'unreadable' end
  if cause then
    result[#result + 1] = id
    result[#result + 1] = cause
  end
end
if #moved > 0 then
  redis.call('ZREM', failed, unpack(moved))
  redis.call('LPUSH', order.rest, unpack(moved))
end
if #moved > 0 and is_new then
  redis.call('SADD', queues, lane.list)
  orders[#orders + 1] = order
  write_orders(diverts, lane.name, orders)
  order.event = write_event(events, head, {[lane.name] = {failed = before}}, {[lane.name] = {backlog = #moved}})
  write_orders(diverts, lane.name, orders)
  result[1] = order.event
end
result[3], result[4] = #moved, backlog_length(order)
return remember(operation, step, result)
