#!lua flags=no-writes
-- One window of a dry run: which jobs of a lane a selection would take. Changes nothing.
--
-- KEYS
--   source   list: one of the three that a lane is read from
-- ARGV
--   selection  JSON: what a divert would take, {} for everything
--   first      index of the first job of the window
--   limit      jobs to look at, at most
--   job_prefix RQ's key prefix of jobs
-- RETURNS
--   {jobs looked at, jobs taken, ms when the oldest that is taken was enqueued or 0,
--    flat list: function, count of those taken, ...,
--    flat list: id, first bytes of its data, its meta, enqueued at, ... of those undecided}
-- include lib/clock.lua
-- include lib/selection.lua
-- include lib/job.lua
-- include lib/fields.lua
local source = KEYS[1]
local selection, first, limit, job_prefix = cjson.decode(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]

local DATA_HEAD, META_LIMIT = 1024, 65536
local now = now_precise()
local jobs = read_fields(source, first, limit, job_prefix, {'shedder', 'created_at', 'enqueued_at'})
local whole = next(selection) == nil
local taken, oldest, counts, undecided = 0, nil, {}, {}
-- Most selections ask for the function alone, and few functions make up a lane.
local by_name_only = is_by_name_only(selection)
local verdicts = {}

local function note_undecided(id, enqueued_at)
  local fields = redis.call('HMGET', job_prefix .. id, 'data', 'meta')
  local meta = fields[2] or ''
  if #meta > META_LIMIT then meta = '?' end
  for _, value in ipairs({id, string.sub(fields[1] or '', 1, DATA_HEAD), meta, enqueued_at or ''}) do
    undecided[#undecided + 1] = value
  end
end

local function match_of(name, enqueued_at)
  if whole then return 1 end
  if not by_name_only or not name then
    return matches_selection(selection, name, nil, age_ms(enqueued_at, now))
  end
  local verdict = verdicts[name]
  if not verdict then
    verdict = matches_selection(selection, name, nil, 0)
    verdicts[name] = verdict
  end
  return verdict
end

for at = 1, #jobs, 4 do
  local created_at, enqueued_at = jobs[at + 2], jobs[at + 3]
  local name = function_of(jobs[at + 1], created_at)
  local match = created_at and match_of(name, enqueued_at) or 0
  if match == -1 or (match == 1 and not name) then
    note_undecided(jobs[at], enqueued_at)
  elseif match == 1 then
    taken = taken + 1
    counts[name] = (counts[name] or 0) + 1
    -- RQ's timestamps sort as text
    if enqueued_at and (not oldest or enqueued_at < oldest) then oldest = enqueued_at end
  end
end
local flat = {}
for name, count in pairs(counts) do flat[#flat + 1], flat[#flat + 2] = name, count end
return {#jobs / 4, taken, iso_to_ms(oldest) or 0, flat, undecided}
