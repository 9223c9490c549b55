#!lua flags=no-writes
-- What some jobs of lists, read one after the other, say of themselves.
--
-- KEYS
--   the lists, in the order in which they are read
-- ARGV
--   job_prefix  RQ's key prefix of jobs
--   with_meta   1: their meta too
--   budget      bytes of data and meta that are read, at most, of all jobs together
--   then for each part: index of its first job, number of its jobs
-- RETURNS
--   for each job that is there: {index, enqueued at or '', its note or '', created at or '', first bytes of its data where it has no note, its meta or '?' when that was too long}
-- include lib/job.lua
local lists = KEYS
local job_prefix, with_meta, budget = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])
local ranges = {unpack(ARGV, 4)}

local DATA_HEAD = 4096
local lengths, found = {}, {}
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

local function look_at(index, id)
  local key = job_prefix .. id
  local values = redis.pcall('HMGET', key, 'enqueued_at', 'shedder', 'created_at')
  if values.err or not (values[1] or values[3]) then return end
  local data = ''
  if not function_of(values[2], values[3]) then data = string.sub(within_budget(key, 'data') or '', 1, DATA_HEAD) end
  local meta = with_meta and (within_budget(key, 'meta') or '?') or ''
  found[#found + 1] = {index, values[1] or '', values[2] or '', values[3] or '', data, meta}
end

for at = 1, #ranges, 2 do
  local first = tonumber(ranges[at])
  for number, id in ipairs(ids_of(first, tonumber(ranges[at + 1]))) do look_at(first + number - 1, id) end
end
return found
