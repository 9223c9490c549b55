#!lua flags=allow-oom
-- Remove what is kept of a queue that RQ does not know any more, and in which no job stands.
--
-- A queue of which anything waits, runs or is ordered stays as it is: a pause may be set before the queue exists.
--
-- KEYS
--   queues  RQ's set of queues
--   pauses, diverts, meters, outcomes  see docs/reference/keys.md
--   then for each lane: list, kept, parked, bell, stale, executions, series, failures, and a list for each step of samples
-- ARGV
--   is_preview  1: only count
--   width       keys for each lane
--   fields      JSON: the fields of the meters that belong to the queue
--   then for each lane: its name
-- RETURNS
--   {keys that were removed or would be, fields of hashes likewise}
-- include lib/lanes.lua
local queues, pauses, diverts, meters, outcomes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local is_preview, width, counted = ARGV[1] == '1', tonumber(ARGV[2]), cjson.decode(ARGV[3])
local lanes = lanes_from(KEYS, 6, ARGV, 4, width)

local function is_needed(lane)
  local stale, executions = lane.more[1], lane.more[2]
  return redis.call('SISMEMBER', queues, lane.list) == 1
    or redis.call('HEXISTS', pauses, lane.name) == 1 or redis.call('HEXISTS', diverts, lane.name) == 1
    or redis.call('EXISTS', lane.list, lane.kept, lane.parked, stale, executions) > 0
end

local function remove(key) return redis.call(is_preview and 'EXISTS' or 'UNLINK', key) end

local function remove_field(hash, field) return redis.call(is_preview and 'HEXISTS' or 'HDEL', hash, field) end

for _, lane in ipairs(lanes) do
  if is_needed(lane) then return {0, 0} end
end
local keys, fields = remove(lanes[1].bell), 0  -- one for all lanes
for _, lane in ipairs(lanes) do
  for place = 3, #lane.more do keys = keys + remove(lane.more[place]) end
  fields = fields + remove_field(outcomes, 'lane:' .. lane.name .. ':failed')
end
for _, field in ipairs(counted) do fields = fields + remove_field(meters, field) end
return {keys, fields}
