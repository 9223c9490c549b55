#!lua flags=no-writes
-- How many jobs of lists, read one after the other, stand before the border at which jobs get younger than a moment.
-- Lists are nearly in order of age, so a few jobs tell, evenly spread; then the border is between two of
-- them. Jobs that were put in front may be younger than those behind them.
--
-- KEYS
--   the lists, in the order in which they are read
-- ARGV
--   job_prefix  RQ's key prefix of jobs
--   probes      jobs to look at before the search, at most
--   slack       ms by which jobs may be out of order, at least: more when those looked at are. The
--               borders are those of moments later by so much. 0: as they stand
--   then moments: ms, when jobs were enqueued
-- RETURNS
--   {jobs in all, ms when the oldest of those looked at was enqueued or 0, ms by which jobs are out of order, how many of 100 looked at have no note of their function, for each moment: jobs before its border, ...}
-- include lib/clock.lua
local lists = KEYS
local job_prefix, probes, slack = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local moments = {unpack(ARGV, 4)}

local lengths, total = {}, 0
for number, list in ipairs(lists) do
  lengths[number] = redis.call('LLEN', list)
  total = total + lengths[number]
end

local function id_at(index)
  for number, list in ipairs(lists) do
    if index < lengths[number] then return redis.call('LINDEX', list, index) end
    index = index - lengths[number]
  end
end

local oldest, PASSED_OVER = nil, 4

-- of the first job at `index` or shortly behind it that is still there; nil when none is
local function enqueued_at(index, last)
  for each = index, math.min(index + PASSED_OVER, last) do
    local is_hash, values = pcall(redis.call, 'HMGET', job_prefix .. (id_at(each) or ''), 'enqueued_at', 'shedder')
    local at = is_hash and iso_to_ms(values[1])
    if at then
      oldest = math.min(oldest or at, at)
      return at, each, values[2]
    end
  end
end

local seen, unnoted = {}, 0
for number = 0, math.min(probes, total) - 1 do
  local index = number
  if total > probes then index = math.floor(number * (total - 1) / (probes - 1)) end
  local at, place, note = enqueued_at(index, total > probes and total - 1 or index)
  if at then
    seen[#seen + 1] = {place, at}
    if not note then unnoted = unnoted + 1 end
  end
end
if #seen > 0 then unnoted = math.ceil(100 * unnoted / #seen) end

-- the first index from `low` on, and before `high`, of which `is_behind` says so
local function first_index(low, high, is_behind)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local at, index = enqueued_at(middle, high - 1)
    if at and not is_behind(at) then low = index + 1 else high = middle end
  end
  return low
end

local function place_of_oldest()
  local first = 1
  for number, each in ipairs(seen) do
    if each[2] < seen[first][2] then first = number end
  end
  return first
end

-- behind jobs that were put in front come the oldest, and may be few
local front = place_of_oldest()
if front > 1 then
  local after, here = seen[front - 1][1] + 1, seen[front]
  local index = first_index(after, here[1], function(at) return at <= here[2] end)
  local at, place = enqueued_at(index, here[1])
  if at and place < here[1] then table.insert(seen, front, {place, at}) end
end

-- by how much a job is older than one before it, at most; what was put in front of the oldest is no disorder
local function disorder()
  local first = place_of_oldest()
  if first > #seen / 2 then first = 1 end
  local latest, most = nil, 0
  for number = first, #seen do
    latest = math.max(latest or seen[number][2], seen[number][2])
    most = math.max(most, latest - seen[number][2])
  end
  return most
end

local function border_of(moment)
  local last = 0
  for number, each in ipairs(seen) do
    if each[2] < moment then last = number end
  end
  if last == 0 then return 0 end
  local behind = seen[last + 1] and seen[last + 1][1] or total
  return first_index(seen[last][1] + 1, behind, function(at) return at >= moment end)
end

local out_of_order = disorder()
if slack > 0 then slack = slack + out_of_order end
local found = {total, 0, out_of_order, unnoted}
for _, moment in ipairs(moments) do found[#found + 1] = border_of(tonumber(moment) + slack) end
found[2] = oldest or 0
return found
