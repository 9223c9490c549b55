#!lua flags=no-writes
-- Some jobs of a list of a lane: which of them a selection would take, and of what they are. Changes nothing.
--
-- KEYS
--   source   list: one of those that a lane or a backlog is read from
-- ARGV
--   selection  JSON: what a divert would take, {} for everything
--   job_prefix RQ's key prefix of jobs
--   with_meta  1 to return each job that is taken, with its meta
--   lately     ms before now, since when a job is counted as one that came lately
--   then for each part: index of its first job, number of its jobs
-- RETURNS
--   {jobs looked at, parts looked at to their end,
--    flat list: function, count of those taken, ms when the oldest was enqueued or 0, how many came lately, ...,
--    flat list: id, function or '', first bytes of its data or '', its meta, '?' when that is long, its age in ms or 0, enqueued at, ... of those undecided, of no known function, or that are to be returned}
--   of a job that is gone the function is ''
-- include lib/clock.lua
-- include lib/selection.lua
-- include lib/job.lua
-- include lib/fields.lua
-- include lib/payload.lua
local source = KEYS[1]
local selection, job_prefix, with_meta, lately = cjson.decode(ARGV[1]), ARGV[2], ARGV[3] == '1', tonumber(ARGV[4])

local WINDOW_BYTES = 262144
local now = now_precise()
local since = ms_to_iso(math.floor(now - lately))
local whole = next(selection) == nil
local needs_meta = with_meta or selection_asks(selection, 'meta')
local needs_age = selection_asks(selection, 'older_than_ms')
local looked_at, parts, bytes, taken, rows = 0, 0, 0, {}, {}
-- Few functions make up a lane, and few selections ask for the age of a job.
local verdicts = {}

local function match_of(name, enqueued_at)
  if whole then return 1 end
  if needs_age then return matches_selection(selection, name, nil, age_ms(enqueued_at, now)) end
  local verdict = verdicts[name or '']
  if not verdict then
    verdict = matches_selection(selection, name, nil, 0)
    verdicts[name or ''] = verdict
  end
  return verdict
end

local function note_taken(name, enqueued_at)
  local noted = taken[name]
  if not noted then
    noted = {count = 0, lately = 0}
    taken[name] = noted
  end
  noted.count = noted.count + 1
  -- RQ's timestamps sort as text
  if enqueued_at and (not noted.oldest or enqueued_at < noted.oldest) then noted.oldest = enqueued_at end
  if enqueued_at and enqueued_at >= since then noted.lately = noted.lately + 1 end
end

local function note_row(id, name, enqueued_at)
  local data, meta, size = read_payload(job_prefix .. id, not name, needs_meta)
  bytes = bytes + size
  local last = #rows
  rows[last + 1], rows[last + 2], rows[last + 3] = id, name or '', data
  rows[last + 4], rows[last + 5] = meta, needs_age and math.floor(age_ms(enqueued_at, now)) or 0
  rows[last + 6] = enqueued_at or ''
end

local function look_at(id, note, created_at, enqueued_at)
  if not created_at and not has_data(job_prefix .. id) then
    if whole then note_taken('', nil) end
    return
  end
  local name = function_of(note, created_at)
  local match = match_of(name, enqueued_at)
  if match == -1 or (match == 1 and (with_meta or not name)) then
    note_row(id, name, enqueued_at)
  elseif match == 1 then
    note_taken(name, enqueued_at)
  end
end

-- whether the whole part was looked at
local function look_at_part(first, count)
  local jobs = read_fields(source, first, count, job_prefix, {'shedder', 'created_at', 'enqueued_at'})
  for at = 1, #jobs, 4 do
    if bytes > WINDOW_BYTES then return false end
    look_at(jobs[at], jobs[at + 1], jobs[at + 2], jobs[at + 3])
    looked_at = looked_at + 1
  end
  return true
end

for at = 5, #ARGV, 2 do
  if not look_at_part(tonumber(ARGV[at]), tonumber(ARGV[at + 1])) then break end
  parts = parts + 1
end
local flat = {}
for name, noted in pairs(taken) do
  local last = #flat
  flat[last + 1], flat[last + 2] = name, noted.count
  flat[last + 3], flat[last + 4] = iso_to_ms(noted.oldest) or 0, noted.lately
end
return {looked_at, parts, flat, rows}
