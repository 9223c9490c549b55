#!lua flags=allow-oom
-- Put jobs that stand in no place at the end of their lane, where its controls say.
--
-- The caller has looked everywhere. What may have happened since is asked again: a job stays as it
-- is that is not queued any more, that was enqueued or put back meanwhile, that a worker has claimed,
-- or that stands near an end of a list.
--
-- KEYS
--   pauses, diverts, events, operation, claims   see docs/reference/keys.md
--   list, kept, parked, bell                     of the lane
--   intermediate                                 list: what a stock worker of the lane has in hand
--   then for each job: its hash
-- ARGV
--   step   of the operation
--   head   JSON: what the event says
--   lane   its name
--   depth  entries to look at, at each end of each list and among the claims
--   then for each job: its id; `enqueued_at` and `shedder_returned` as they were before the last look
-- RETURNS
--   {event or '' when no job was put back, then the id of each that was}
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
-- include lib/selection.lua
-- include lib/job.lua
-- include lib/token.lua
-- include lib/seek.lua
-- include lib/arrival.lua
local pauses, diverts, events, operation, claims = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local lane = {name = ARGV[3], list = KEYS[6], kept = KEYS[7], parked = KEYS[8], bell = KEYS[9]}
local intermediate = KEYS[10]
local step, head, depth = ARGV[1], ARGV[2], tonumber(ARGV[4])
local jobs = {}
for index = 1, #KEYS - 10 do
  local at = 2 + 3 * index
  jobs[index] = {key = KEYS[10 + index], id = ARGV[at], enqueued_at = ARGV[at + 1], returned = ARGV[at + 2]}
end

local replayed = recall(operation, step)
if replayed then return replayed end
local orders = read_orders(diverts, lane.name)
if orders == false then return remember(operation, step, {''}) end
check_types(events, {lane})
for _, order in ipairs(orders or {}) do backlog_length(order) end

local elsewhere = {}
note_claims(elsewhere, claims, depth)
local lists = {lane.list, lane.kept, lane.parked, intermediate}
for _, order in ipairs(orders or {}) do
  lists[#lists + 1], lists[#lists + 2], lists[#lists + 3] = order.front, order.rest, order.slot
end
for _, list in ipairs(lists) do note_ends(elsewhere, list, depth) end

local function is_lost(job)
  local is_hash, fields = pcall(redis.call, 'HMGET', job.key, 'status', 'enqueued_at',
    'shedder_returned', 'data', 'shedder', 'created_at')
  if not is_hash or fields[1] ~= 'queued' or not fields[4] or elsewhere[job.id] then return false end
  job.name = function_of(fields[5], fields[6]) or ''
  return (fields[2] or '') == job.enqueued_at and (fields[3] or '') == job.returned
end

local before = waiting_in(lane)
local now = now_ms()
local result = {''}
for _, job in ipairs(jobs) do
  if is_lost(job) then
    redis.call('HSET', job.key, 'shedder_returned', now)
    arrive(lane, pauses, diverts, job.id, false, job.name, '')
    result[#result + 1] = job.id
  end
end
if #result > 1 then
  result[1] = write_event(events, head, {[lane.name] = {waiting = before}},
    {[lane.name] = {waiting = waiting_in(lane), jobs = #result - 1, names = {unpack(result, 2)}}})
end
return remember(operation, step, result)
