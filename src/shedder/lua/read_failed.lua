#!lua flags=no-writes
-- What is known of some failed jobs, as RQ and shedder keep it; changes nothing.
--
-- KEYS
--   failed   sorted set: RQ's registry of the failed jobs of a lane
-- ARGV
--   first    how many jobs of the registry are before the first to look at; with 'newest' it is the last one
--            that is before it, since what goes behind it changes no place before it
--   limit    jobs to look at, at most
--   order    'newest' or 'oldest': the direction in which jobs are looked at
--   job_prefix, results_prefix   RQ's key prefixes
--   bytes    of results and metas in all after which the step ends
--   meta     1 when the metas are asked for
-- RETURNS
--   {jobs in the registry, then for each job: id, until when RQ keeps it (as text), status, bytes of its data (0 when it has expired), field `shedder`, created_at, enqueued_at, ended_at, origin, times that shedder brought it back, retries of its own, results kept, id of the last result, its exc_string, exc_info of the hash, meta ('?' when it is long)}
-- include lib/payload.lua
local failed, first, limit, order = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local job_prefix, results_prefix, bytes, needs_meta = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7] == '1'

local LONGEST_REPORT = 262144

local function report_of(results)
  local found = redis.pcall('XREVRANGE', results, '+', '-', 'COUNT', 1)
  if found.err or not found[1] then return '', '' end
  local fields = found[1][2]
  for index = 1, #fields, 2 do
    if fields[index] == 'exc_string' then
      return found[1][1], #fields[index + 1] <= LONGEST_REPORT and fields[index + 1] or ''
    end
  end
  return found[1][1], ''
end

local function texts(found)
  for index = 1, 9 do found[index] = found[index] or '' end
  return found
end

local function size_of(key)
  local size = redis.pcall('HSTRLEN', key, 'data')
  return type(size) == 'number' and size or 0
end

local from, to, step = first, first + limit - 1, 2
if order == 'newest' then from, to, step = math.max(0, first - limit), first - 1, -2 end
local jobs = to >= from and redis.call('ZRANGE', failed, from, to, 'WITHSCORES') or {}
local result, read = {redis.call('ZCARD', failed)}, 0
for index = step > 0 and 1 or #jobs - 1, step > 0 and #jobs - 1 or 1, step do
  if read > bytes then break end
  local id, key, results = jobs[index], job_prefix .. jobs[index], results_prefix .. jobs[index]
  local found = redis.pcall('HMGET', key, 'status', 'shedder', 'created_at', 'enqueued_at', 'ended_at', 'origin',
    'shedder_retries', 'number_of_retries', 'exc_info')
  found = texts(found.err and {} or found)
  local result_id, report = report_of(results)
  local kept = redis.pcall('XLEN', results)
  local _, meta, long = read_payload(key, false, needs_meta and size_of(key) > 0)
  read = read + #report + #found[9] + long
  for _, value in ipairs({id, jobs[index + 1], found[1], size_of(key), found[2], found[3], found[4], found[5],
    found[6], found[7], found[8], type(kept) == 'number' and kept or 0, result_id, report, found[9], meta}) do
    result[#result + 1] = value
  end
end
return result
