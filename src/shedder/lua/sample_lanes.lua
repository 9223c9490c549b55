#!lua flags=allow-oom
-- Write down the counters of lanes, from which rates are told; at most once in a while for all.
--
-- KEYS
--   sampled, meters, diverts   see docs/reference/keys.md
--   then for each lane: list, kept, parked, bell, series
-- ARGV
--   interval  ms between two samples
--   keep      samples to keep for each lane
--   then for each lane: its name
-- RETURNS
--   1 when a sample was taken, else 0
-- include lib/clock.lua
-- include lib/controls.lua
-- include lib/lane.lua
local sampled, meters, diverts = KEYS[1], KEYS[2], KEYS[3]
local interval, keep = tonumber(ARGV[1]), tonumber(ARGV[2])
local lanes = lanes_from(KEYS, 4, ARGV, 3, 5)

if not redis.call('SET', sampled, '1', 'NX', 'PX', interval) then return 0 end
local now = now_ms()

local function in_backlogs(name)
  local total = 0
  for _, order in ipairs(read_orders(diverts, name) or {}) do total = total + backlog_length(order) end
  return total
end

-- Arrivals are not counted where jobs are pushed, because stock producers push too: what is there
-- now, and what has started since, must have arrived.
for _, lane in ipairs(lanes) do
  local counts = redis.call('HMGET', meters, lane.name .. ':started', lane.name .. ':ended')
  local started, ended = tonumber(counts[1]) or 0, tonumber(counts[2]) or 0
  local waiting, backlog = waiting_in(lane), in_backlogs(lane.name)
  local series = lane.more[1]
  if waiting + backlog + started > 0 then
    redis.call('RPUSH', series, cjson.encode({now, waiting, backlog, started, ended}))
    redis.call('LTRIM', series, -keep, -1)
  end
end
return 1
