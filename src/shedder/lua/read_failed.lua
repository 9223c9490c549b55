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
--   bytes    of reports and metas in all after which the step ends
--   meta     1 when the metas are asked for
--   results  1 when it is asked for how many results RQ keeps of each job
-- RETURNS
--   {jobs in the registry, {reports: exc_string of a result, each once}, then for each job: id, status, created_at ('' when its data has expired), field `shedder`, enqueued_at, ended_at, origin, times that shedder brought it back, retries of its own, exc_info of the hash, results kept, id of the last result, number of its report (0 for none), meta ('?' when it is long)}
-- include lib/payload.lua
local failed, first, limit, order = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local job_prefix, results_prefix, bytes = ARGV[4], ARGV[5], tonumber(ARGV[6])
local needs_meta, needs_results = ARGV[7] == '1', ARGV[8] == '1'

local LONGEST_REPORT = 262144
local FIELDS = {'status', 'created_at', 'shedder', 'enqueued_at', 'ended_at', 'origin', 'shedder_retries',
  'number_of_retries', 'exc_info'}

-- After an outage most reports are alike: each is sent once, and read once by the caller.
local reports, known, read = {}, {}, 0

local function number_of(report)
  if #report > LONGEST_REPORT then return 0 end
  if not known[report] then
    reports[#reports + 1] = report
    known[report], read = #reports, read + #report
  end
  return known[report]
end

local function last_result(results)
  local found = redis.pcall('XREVRANGE', results, '+', '-', 'COUNT', 1)
  if found.err or not found[1] then return '', 0 end
  local fields = found[1][2]
  for index = 1, #fields, 2 do
    if fields[index] == 'exc_string' then return found[1][1], number_of(fields[index + 1]) end
  end
  return found[1][1], 0
end

local function results_kept(results)
  local kept = needs_results and redis.pcall('XLEN', results)
  return type(kept) == 'number' and kept or 0
end

local function meta_of(key)
  if not needs_meta then return '' end
  local done, _, meta, size = pcall(read_payload, key, false, true)
  read = read + (done and size or 0)
  return done and meta or ''
end

local from, to, step = first, first + limit - 1, 1
if order == 'newest' then from, to, step = math.max(0, first - limit), first - 1, -1 end
local jobs = to >= from and redis.call('ZRANGE', failed, from, to) or {}
local result, size = {redis.call('ZCARD', failed), reports}, 2
for index = step > 0 and 1 or #jobs, step > 0 and #jobs or 1, step do
  if read > bytes then break end
  local id = jobs[index]
  local key, results = job_prefix .. id, results_prefix .. id
  local found = redis.pcall('HMGET', key, unpack(FIELDS))
  if found.err then found = {} end
  result[size + 1] = id
  for field = 1, 9 do result[size + 1 + field] = found[field] or '' end
  read = read + #result[size + 10]
  result[size + 11] = results_kept(results)
  result[size + 12], result[size + 13] = last_result(results)
  result[size + 14] = found[2] and meta_of(key) or ''
  size = size + 14
end
return result
