#!lua flags=allow-oom
-- Put jobs that were set aside into their lane again, as if they were enqueued now.
--
-- They get a new enqueue time, because one that is stale would be set aside again. The controls of
-- the lane say where they go, as for any arrival.
--
-- KEYS
--   pauses, diverts, events, operation   see docs/reference/keys.md
--   stale                                list: jobs of the lane that were set aside
--   list, kept, parked, bell             of the lane
-- ARGV
--   step    of the operation
--   head    JSON: what the event says
--   lane    its name
--   limit   jobs to look at, at most
--   job_prefix, executions_prefix   RQ's key prefixes
-- RETURNS
--   {event or '' when there was nothing, ms of the server's clock, jobs replayed, jobs that cannot run any more, jobs left}
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
-- include lib/selection.lua
-- include lib/job.lua
-- include lib/arrival.lua
local pauses, diverts, events, operation, stale = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local step, head, limit = ARGV[1], ARGV[2], tonumber(ARGV[4])
local lane = {name = ARGV[3], list = KEYS[6], kept = KEYS[7], parked = KEYS[8], bell = KEYS[9]}
local rq = {job_prefix = ARGV[5], executions_prefix = ARGV[6]}

local replayed = recall(operation, step)
if replayed then return replayed end
check_types(events, {lane})
local now = now_ms()
local before, waiting = redis.call('LLEN', stale), waiting_in(lane)
local skipped, names = 0, {}

local function replay(id)
  local fields = redis.call('HMGET', rq.job_prefix .. id, 'data', 'status', 'shedder', 'created_at')
  if not fields[1] or not is_runnable(rq, id, fields[2]) then
    skipped = skipped + 1
    names[#names + 1] = id .. ' ' .. (fields[1] and fields[2] or 'gone')
    return
  end
  redis.call('HSET', rq.job_prefix .. id, 'enqueued_at', ms_to_iso(now))
  arrive(lane, pauses, diverts, id, false, function_of(fields[3], fields[4]) or '', '')
end

for _ = 1, math.min(limit, before) do
  -- what stock producers pushed goes in first, and may be much
  if sweep_left < 1 then break end
  local id = redis.call('LPOP', stale)
  -- an error undoes nothing of what was done
  local done, trouble = pcall(replay, id)
  if not done then
    redis.call('LPUSH', stale, id)
    return error(trouble)
  end
end
local left = redis.call('LLEN', stale)
local result = {'', now, before - left - skipped, skipped, left}
if before > left then
  result[1] = write_event(events, head, {[lane.name] = {stale = before, waiting = waiting}},
    {[lane.name] = {stale = left, waiting = waiting_in(lane)}, skipped = names})
end
return remember(operation, step, result)
