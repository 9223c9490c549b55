#!lua flags=allow-oom
-- Write down the counters of lanes, from which rates are told; by the upkeep at most once in a while for all.
--
-- A sample is 32 bytes: eight unsigned 32-bit numbers, big-endian. They are the server's time in
-- seconds; jobs waiting, in backlogs and running; the age in seconds of the oldest that waits and of
-- the oldest in a backlog; jobs that workers of ours have started and ended since the beginning.
-- Fine samples are kept for a while, coarse ones for longer. An empty lane whose numbers stay the same
-- writes none: a gap means that nothing happened.
--
-- How many jobs have ended and failed is kept likewise, for all lanes and labels at once: JSON, the
-- server's time in seconds, then by lane and by label {ended, failed} since the beginning. Where more is
-- counted than one call may read, several calls write one such moment, whose time is half-way.
--
-- KEYS
--   sampled, meters, diverts, outcomes, claims, outcome_draft   see docs/reference/keys.md
--   then for each step of the outcomes: a sorted set of moments
--   then for each lane: list, kept, parked, bell, series, executions, and a list for each step
-- ARGV
--   interval    ms between two entries of a series; 0: after a change, and the upkeep has its turn still
--   keep        entries of a series to keep for each lane
--   job_prefix  RQ's key prefix of jobs
--   steps       JSON: [seconds between two samples, how many are kept], the finest step first
--   expiry      seconds after which the samples of a lane go that has written none
--   moments     JSON: as steps, for the outcomes
--   counts      fields of the counters of all lanes and labels to read for a moment, about, at most
--   most_claims claims to look at, at most
--   then for each lane: its name
-- RETURNS
--   1 when a sample was taken, else 0
-- include lib/clock.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lease.lua
-- include lib/lane.lua
-- include lib/count.lua
-- include lib/token.lua
local sampled, meters, diverts, outcomes, claims, draft = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local interval, keep, job_prefix = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local steps, expiry = cjson.decode(ARGV[4]), tonumber(ARGV[5])
local moments, most_counts, most_claims = cjson.decode(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local moment_keys = {unpack(KEYS, 7, 6 + #moments)}
local lanes = lanes_from(KEYS, 7 + #moments, ARGV, 9, 6 + #steps)

if interval > 0 then
  if is_held(sampled) then return 0 end
  redis.call('SET', sampled, '1', 'PX', interval)
end
local now = now_ms()
local now_seconds = math.floor(now / 1000)
local LARGEST = 4294967296

local function packed(...)
  local numbers = {...}
  for index, each in ipairs(numbers) do numbers[index] = math.max(0, math.floor(each)) % LARGEST end
  return struct.pack('>I4I4I4I4I4I4I4I4', unpack(numbers))
end

local function backlog_of(orders)
  local total, fronts = 0, {}
  for _, order in ipairs(orders or {}) do
    total = total + backlog_length(order)
    for _, list in ipairs({order.slot, order.front, order.rest}) do fronts[#fronts + 1] = list end
  end
  return total, fronts
end

-- the age in seconds of the oldest job that stands first in one of these lists
local function oldest_in(lists)
  local oldest = now
  for _, list in ipairs(lists) do
    local id = redis.call('LINDEX', list, 0)
    local is_hash, text = pcall(redis.call, 'HGET', job_prefix .. (id or ''), 'enqueued_at')
    oldest = math.min(oldest, is_hash and iso_to_ms(text) or now)
  end
  return (now - oldest) / 1000
end

local function is_due(last, seconds)
  return not last or #last ~= 32 or now_seconds - struct.unpack('>I4', last) >= seconds
end

local function write_samples(lists, sample_of, is_empty)
  local sample
  for index, step in ipairs(steps) do
    local last = redis.call('LINDEX', lists[index], -1)
    if not is_due(last, step[1]) then return end
    sample = sample or sample_of()
    if not (is_empty and last and string.sub(last, 5) == string.sub(sample, 5)) then
      redis.call('RPUSH', lists[index], sample)
      redis.call('LTRIM', lists[index], -step[2], -1)
      redis.call('EXPIRE', lists[index], expiry)
    end
  end
end

-- whether no moment was kept for so long; a time ahead is of a clock that was set back since
local function is_moment_due(index)
  local seconds = moments[index][1]
  return redis.call('ZCOUNT', moment_keys[index], '(' .. now_seconds - seconds, '(' .. now_seconds + seconds) == 0
end

-- a count that somebody has damaged by hand is none
local function count_in(text)
  local number = tonumber(text or 0)
  return number and number >= 0 and number < 2 ^ 53 and number or 0
end

local function values_of(key, names)
  local values = {}
  for first = 1, #names, 1000 do
    local some = redis.call('HMGET', key, unpack(names, first, math.min(first + 999, #names)))
    for index = 1, #some do values[first + index - 1] = count_in(some[index]) end
  end
  return values
end

-- Of the counters of `part` those from `cursor` on, as JSON without its braces; and where to go on.
local function counts_from(part, cursor)
  local is_lanes = part == 'lanes'
  local source, prefix = is_lanes and meters or outcomes, is_lanes and '' or 'label:'
  local page = redis.call('HSCAN', source, cursor, 'MATCH', prefix .. '*:ended', 'COUNT', most_counts)
  local names, failed, written = {}, {}, {}
  for index = 1, #page[2], 2 do
    names[#names + 1] = string.sub(page[2][index], #prefix + 1, -7)
    failed[#failed + 1] = (is_lanes and 'lane:' or prefix) .. names[#names] .. ':failed'
  end
  local fails = values_of(outcomes, failed)
  for index, name in ipairs(names) do
    local ended = count_in(page[2][2 * index])
    written[index] = string.format('%s:[%.0f,%.0f]', cjson.encode(name), ended, fails[index])
  end
  return table.concat(written, ','), page[1]
end

-- The moment that is being written, begun anew when its calls stopped long ago.
local function read_draft()
  local found = redis.call('HMGET', draft, 'began', 'part', 'cursor', 'lanes', 'labels')
  local began = tonumber(found[1])
  if not began or math.abs(now_seconds - began) > 60 or not string.match(found[3] or '', '^%d+$') then
    return {began = now_seconds, part = 'lanes', cursor = '0', lanes = '', labels = ''}
  end
  return {is_kept = true, began = began, part = found[2], cursor = found[3], lanes = found[4] or '', labels = found[5] or ''}
end

-- true when all is in it
local function go_on_with(moment)
  local left = most_counts
  repeat
    left = left - math.min(redis.call('HLEN', moment.part == 'lanes' and meters or outcomes), most_counts)
    if left < 0 then return false end
    local text, cursor = counts_from(moment.part, moment.cursor)
    local before = moment[moment.part]
    moment[moment.part] = before .. (before ~= '' and text ~= '' and ',' or '') .. text
    moment.cursor = cursor
    if cursor == '0' then moment.part = moment.part == 'lanes' and 'labels' or 'done' end
  until moment.part == 'done'
  return true
end

local function tail(text) return text and string.match(text, ',.*') end

local function keep_moment(moment)
  local seconds = math.floor((moment.began + now_seconds) / 2)
  local text = '[' .. seconds .. ',{' .. moment.lanes .. '},{' .. moment.labels .. '}]'
  for index, step in ipairs(moments) do
    if not is_moment_due(index) then return end
    local key = moment_keys[index]
    if tail(redis.call('ZRANGE', key, -1, -1)[1]) ~= tail(text) then
      redis.call('ZADD', key, seconds, text)
      redis.call('ZREMRANGEBYRANK', key, 0, -1 - step[2])
    end
  end
end

local function write_outcomes()
  if not is_moment_due(1) then return end
  local moment = read_draft()
  if go_on_with(moment) then
    if moment.is_kept then redis.call('DEL', draft) end
    if moment.lanes ~= '' then keep_moment(moment) end
  else
    redis.call('HSET', draft, 'began', moment.began, 'part', moment.part, 'cursor', moment.cursor,
      'lanes', moment.lanes, 'labels', moment.labels)
    redis.call('EXPIRE', draft, 60)
  end
end

-- by lane, how many of its jobs are in workers' hands; then how many claims were not looked at
local function jobs_in_hand()
  local held, members = {}, redis.call('ZRANGE', claims, 0, most_claims - 1)
  for _, member in ipairs(members) do
    local is_readable, claim = pcall(unpack_claim, member)
    local name = is_readable and claim.lane.name
    if name then held[name] = (held[name] or 0) + 1 end
  end
  return held, #members < most_claims and 0 or redis.call('ZCARD', claims) - most_claims
end

local held, unseen = jobs_in_hand()

-- Arrivals are not counted where jobs are pushed, because stock producers push too: what is there
-- now, and what has started since, must have arrived. Where some is missing, jobs were deleted or
-- taken by others, and what arrives next is new again.
local function count_arrived(name, present, known)
  if present > known then
    count(meters, name .. ':arrived', present - known)
  elseif present < known - unseen then
    count(meters, name .. ':vanished', known - unseen - present)
  end
end

for _, lane in ipairs(lanes) do
  local counts = redis.call('HMGET', meters, lane.name .. ':started', lane.name .. ':ended',
    lane.name .. ':arrived', lane.name .. ':vanished')
  local started, ended = tonumber(counts[1]) or 0, tonumber(counts[2]) or 0
  local waiting, running = waiting_in(lane), redis.call('ZCARD', lane.more[2])
  local backlog, fronts = backlog_of(read_orders(diverts, lane.name))
  local known = (tonumber(counts[3]) or 0) - (tonumber(counts[4]) or 0)
  count_arrived(lane.name, waiting + backlog + started + (held[lane.name] or 0), known)
  if waiting + backlog + started + running > 0 then
    redis.call('RPUSH', lane.more[1], cjson.encode({now, waiting, backlog, started, ended}))
    redis.call('LTRIM', lane.more[1], -keep, -1)
    write_samples({unpack(lane.more, 3)}, function()
      local oldest = oldest_in({lane.kept, lane.parked, lane.list})
      return packed(now_seconds, waiting, backlog, running, oldest, oldest_in(fronts), started, ended)
    end, waiting + backlog + running == 0)
  end
end
write_outcomes()
return 1
