#!lua flags=allow-oom
-- Count hits in a moving window, all of them or none, and note what was decided.
--
-- A window is a list of times, newest first, one for each hit that was let through. The one that is
-- as far from the front as the rate allows decides: hits are within the rate when it has left the
-- window. So no hit is forgotten when the rate changes, and a refused one does not count. Hits are
-- kept for their period and for a minute at least, because the next rate may be one a minute. The
-- window's own expiry, three such times from a hit on, tells that a longer period was in force lately.
--
-- KEYS
--   window  list: times (us of the server's clock) of the hits that were let through, newest first
--   counts  hash: hits and refusals of each limit
-- ARGV
--   amount   hits that a period allows
--   period   in us
--   cost     hits to count
--   name     of the limit, for the counts
--   limit    forgotten hits to remove at most
-- RETURNS
--   1 when they are within the rate, 0 when they are not
-- include lib/count.lua
local window, counts = KEYS[1], KEYS[2]
local amount, period, cost, name, most =
  tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])

local PER_CALL = 1000
local MINUTE_MS = 60000
local SPARE_HITS = 10000
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local AHEAD_US = 1000000

local function is_within()
  if cost > amount then return false end
  local deciding = redis.call('LINDEX', window, amount - cost)
  -- hits of a time to come are of a clock that was set back, and would shut everybody out until then
  if deciding and (tonumber(deciding) or 0) > now + AHEAD_US then
    redis.call('DEL', window)
    return true
  end
  -- an entry that somebody has damaged by hand is long over
  return not deciding or (tonumber(deciding) or 0) <= now - period
end

local function add()
  local text = string.format('%.0f', now)
  local left = cost
  while left > 0 do
    local hits = {}
    for index = 1, math.min(left, PER_CALL) do hits[index] = text end
    redis.call('LPUSH', window, unpack(hits))
    left = left - #hits
  end
end

-- For how long (us) hits are kept, and whether a shorter period may forget them sooner.
local function memory()
  local keep = math.max(math.ceil(period / 1000), MINUTE_MS)
  local left = redis.call('PTTL', window)
  if left > 3 * keep then return left * 1000, false end
  if left < 2 * keep then redis.call('PEXPIRE', window, 3 * keep) end
  return keep * 1000, true
end

local function forget(span, can_spare)
  for _ = 1, most do
    local oldest = redis.call('LINDEX', window, -1)
    local age = oldest and now - (tonumber(oldest) or 0) or 0
    local is_spare = can_spare and age >= period and redis.call('LLEN', window) > SPARE_HITS
    if age < span and not is_spare then return end
    redis.call('RPOP', window)
  end
end

if not is_within() then
  count(counts, name .. ' refusals', cost)
  return 0
end
add()
forget(memory())
count(counts, name .. ' hits', cost)
return 1
