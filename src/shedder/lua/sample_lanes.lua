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
-- server's time in seconds, then by lane and by label {ended, failed} since the beginning.
--
-- KEYS
--   sampled, meters, diverts, outcomes, claims   see docs/reference/keys.md
--   then for each step of the outcomes: a sorted set of moments
--   then for each lane: list, kept, parked, bell, series, executions, and a list for each step
-- ARGV
--   interval    ms between two entries of a series; 0: after a change, and the upkeep has its turn still
--   keep        entries of a series to keep for each lane
--   job_prefix  RQ's key prefix of jobs
--   steps       JSON: [seconds between two samples, how many are kept], the finest step first
--   expiry      seconds after which the samples of a lane go that has written none
--   moments     JSON: as steps, for the outcomes
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
local sampled, meters, diverts, outcomes, claims = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local interval, keep, job_prefix = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local steps, expiry = cjson.decode(ARGV[4]), tonumber(ARGV[5])
local moments, most_claims = cjson.decode(ARGV[6]), tonumber(ARGV[7])
local moment_keys = {unpack(KEYS, 6, 5 + #moments)}
local lanes = lanes_from(KEYS, 6 + #moments, ARGV, 8, 6 + #steps)

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

local function fields_of(key)
  local flat, fields = redis.call('HGETALL', key), {}
  for index = 1, #flat, 2 do fields[flat[index]] = tonumber(flat[index + 1]) or 0 end
  return fields
end

-- {ended, failed} by what `prefix` and `suffix` leave of the names of the fields
local function ends_in(fields, failed, prefix, suffix)
  local found = {}
  for name, ended in pairs(fields) do
    local what = string.match(name, '^' .. prefix .. '(.*):ended$')
    if what then found[what] = {ended, failed[suffix .. what .. ':failed'] or 0} end
  end
  return found
end

local function tail(text) return text and string.match(text, ',.*') end

local function write_outcomes()
  local counted = fields_of(outcomes)
  local lanes_now = ends_in(fields_of(meters), counted, '', 'lane:')
  local labels_now = ends_in(counted, counted, 'label:', 'label:')
  if not next(lanes_now) then return end
  local text = cjson.encode({now_seconds, lanes_now, labels_now})
  for index, step in ipairs(moments) do
    local key = moment_keys[index]
    local last = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')
    if last[2] and math.abs(now_seconds - last[2]) < step[1] then return end
    if tail(last[1]) ~= tail(text) then
      redis.call('ZADD', key, now_seconds, text)
      redis.call('ZREMRANGEBYRANK', key, 0, -1 - step[2])
    end
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
