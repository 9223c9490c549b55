#!lua flags=no-writes
-- How many hits count in a moving window now, and when the next one may come.
--
-- KEYS
--   window  list: times (us of the server's clock) of the hits that were let through, newest first
-- ARGV
--   amount  hits that a period allows
--   period  in us
-- RETURNS
--   {hits that count, us until one more is within the rate}
local window = KEYS[1]
local amount, period = tonumber(ARGV[1]), tonumber(ARGV[2])

local time = redis.call('TIME')
local border = time[1] * 1000000 + time[2] - period

-- an entry that somebody has damaged by hand is long over
local function hit_at(index)
  return tonumber(redis.call('LINDEX', window, index)) or 0
end

-- the list is sorted: halve it until the first hit that has left the window is found
local function count_hits()
  local low, high = 0, redis.call('LLEN', window)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if hit_at(middle) > border then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

local used = count_hits()
if used < amount then return {used, 0} end
-- more is of a clock that was set back, and the next hit begins anew
return {used, math.min(math.max(hit_at(amount - 1) - border, 0), period)}
