#!lua flags=no-writes
-- How many jobs of lists were enqueued before a moment? Lists are in order of time, so it looks at few.
--
-- KEYS
--   for each list: its key
-- ARGV
--   cutoff      ms: a job enqueued before is late
--   job_prefix  RQ's key prefix of jobs
--   limit       jobs to look at for each list, at most
-- RETURNS
--   for each list: the number of late jobs
-- include lib/clock.lua
local lists = KEYS
local cutoff, job_prefix, limit = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])

-- nil where the job is gone
local function enqueued_at(list, index)
  local id = redis.call('LINDEX', list, index)
  local is_hash, text = pcall(redis.call, 'HGET', job_prefix .. (id or ''), 'enqueued_at')
  return is_hash and iso_to_ms(text) or nil
end

local function late_in(list)
  local first, last, looked_at = 0, redis.call('LLEN', list), 0
  -- all before `first` are late, none from `last` on
  while first < last and looked_at < limit do
    local middle = math.floor((first + last) / 2)
    local at, index = nil, middle
    while not at and index < last and looked_at < limit do
      at = enqueued_at(list, index)
      index, looked_at = index + 1, looked_at + 1
    end
    if not at then
      last = middle
    elseif at < cutoff then
      first = index
    else
      last = middle
    end
  end
  return first
end

local counts = {}
for index, list in ipairs(lists) do counts[index] = late_in(list) end
return counts
