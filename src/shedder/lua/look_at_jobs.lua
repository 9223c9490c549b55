#!lua flags=no-writes
-- What some jobs of lists, read one after the other, say of themselves.
-- Jobs of our producers that are alike are told by one row: of the same function and meta, and enqueued
-- between the same two moments.
--
-- KEYS
--   the lists, in the order in which they are read
-- ARGV
--   job_prefix  RQ's key prefix of jobs
--   with_meta   1: their meta too
--   budget      bytes of data and meta that are read, at most, of all jobs together
--   moments     how many moments follow
--   then moments: ms, the latest first
--   then for each part: index of its first job, number of its jobs
-- RETURNS
--   for each job that is there, or for all that are alike: {number of jobs, when the oldest was enqueued or '', function by its note or '', first bytes of its data where it has no note, its meta or '?' when that was too long}
-- include lib/clock.lua
-- include lib/job.lua
local lists = KEYS
local job_prefix, with_meta, budget, last_moment = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3]), 4 + tonumber(ARGV[4])
local ranges = {unpack(ARGV, last_moment + 1)}

-- as RQ writes them, times are in the order of their texts; a pattern is dear, so only the oldest are held against it
local RQ_LENGTH = 27
local RQ_TIME = '^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%d%d%d%dZ$'
local moments = {}
for number = 5, last_moment do moments[#moments + 1] = ms_to_iso(tonumber(ARGV[number])) end

local DATA_HEAD = 4096
local lengths, found, alike = {}, {}, {}
for number, list in ipairs(lists) do lengths[number] = redis.call('LLEN', list) end

local function ids_of(first, count)
  local ids = {}
  for number, list in ipairs(lists) do
    if count > 0 and first < lengths[number] then
      for _, id in ipairs(redis.call('LRANGE', list, first, first + count - 1)) do ids[#ids + 1] = id end
      count, first = count - math.min(count, lengths[number] - first), lengths[number]
    end
    first = first - lengths[number]
  end
  return ids
end

-- nil where it would take more than is left of the budget
local function within_budget(key, name)
  local size = redis.call('HSTRLEN', key, name)
  if size > budget then return nil end
  budget = budget - size
  return redis.call('HGET', key, name) or ''
end

local function table_in(parent, key)
  local child = parent[key]
  if not child then
    child = {}
    parent[key] = child
  end
  return child
end

-- false when the job is like none
local function count_as_alike(at, name, meta)
  if name == '' or #at ~= RQ_LENGTH then return false end
  local passed = 0
  while passed < #moments and at < moments[passed + 1] do passed = passed + 1 end
  local rows = table_in(table_in(alike, passed), name)
  local row = rows[meta]
  if not row or at < row[2] then
    if not string.find(at, RQ_TIME) then return false end
    if not row then
      row = {0, at, name, '', meta}
      rows[meta] = row
      found[#found + 1] = row
    end
    row[2] = at
  end
  row[1] = row[1] + 1
  return true
end

local function look_at(id)
  local key = job_prefix .. id
  local values = redis.pcall('HMGET', key, 'enqueued_at', 'shedder', 'created_at')
  if values.err or not (values[1] or values[3]) then return end
  local at, name, data = values[1] or '', function_of(values[2], values[3]) or '', ''
  if name == '' then data = string.sub(within_budget(key, 'data') or '', 1, DATA_HEAD) end
  local meta = with_meta and (within_budget(key, 'meta') or '?') or ''
  if not count_as_alike(at, name, meta) then found[#found + 1] = {1, at, name, data, meta} end
end

for at = 1, #ranges, 2 do
  for _, id in ipairs(ids_of(tonumber(ranges[at]), tonumber(ranges[at + 1]))) do look_at(id) end
end
return found
