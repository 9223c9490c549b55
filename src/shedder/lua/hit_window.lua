#!lua flags=allow-oom
-- Count hits in a moving window, all of them or none, and note what was decided.
--
-- A window is a list of times, newest first, one for each hit that was let through. The one that is
-- as far from the front as the rate allows decides: hits are within the rate when it has left the
-- window. So no hit is forgotten when the rate changes, and a refused one does not count. Spare hits
-- of the last minute are kept beyond their period, because the next rate may be one a minute.
--
-- KEYS
--   window   list: times (us of the server's clock) of the hits that were let through, newest first
--   longest  string: the longest period (us) whose hits must be remembered; expires with them
--   counts   hash: hits and refusals of each limit
-- ARGV
--   amount   hits that a period allows
--   period   in us
--   cost     hits to count
--   name     of the limit, for the counts
--   limit    forgotten hits to remove at most
-- RETURNS
--   1 when they are within the rate, 0 when they are not
local window, longest, counts = KEYS[1], KEYS[2], KEYS[3]
local amount, period, cost, name, most =
  tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])

local PER_CALL = 1000
local MINUTE = 60000000
local SPARE_HITS = 10000
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function is_within()
  if cost > amount then return false end
  local deciding = redis.call('LINDEX', window, amount - cost)
  return not deciding or tonumber(deciding) <= now - period
end

-- A shorter period must not forget what a longer one, which was in force lately, would count.
local function remembered()
  local known = tonumber(redis.call('GET', longest) or 0)
  if known > period then return known end
  redis.call('SET', longest, string.format('%.0f', period), 'PX', math.ceil(period / 1000))
  return period
end

local function forget(span)
  local spare = math.max(span, MINUTE)
  for _ = 1, most do
    local oldest = redis.call('LINDEX', window, -1)
    local age = oldest and now - tonumber(oldest) or 0
    if age < span then return end
    if age < spare and redis.call('LLEN', window) <= SPARE_HITS then return end
    redis.call('RPOP', window)
  end
end

if not is_within() then
  redis.call('HINCRBY', counts, name .. ' refusals', cost)
  return 0
end
local text = string.format('%.0f', now)
local left = cost
while left > 0 do
  local hits = {}
  for index = 1, math.min(left, PER_CALL) do hits[index] = text end
  redis.call('LPUSH', window, unpack(hits))
  left = left - #hits
end
local span = remembered()
forget(span)
redis.call('PEXPIRE', window, math.ceil(math.max(span, MINUTE) / 1000))
redis.call('HINCRBY', counts, name .. ' hits', cost)
return 1
