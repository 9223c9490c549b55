#!lua flags=allow-oom
-- Bring jobs that stand in a list which no control knows to the front of their lane, order kept.
--
-- KEYS
--   source  the list, such as a backlog whose order is gone
--   list    RQ's list of the lane
--   queues  RQ's set of queues
--   events  the journal
-- ARGV
--   limit   ids to move, at most, when the list cannot be renamed
--   head    JSON: what the event says
--   lane    its name
--   total   ids that stood in the list at the first step, for the event
-- RETURNS
--   ids that are still to be moved
-- include lib/journal.lua
-- include lib/lanes.lua
-- include lib/lane.lua
local source, list, queues, events = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local limit, head, lane, total = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])

redis.call('XLEN', events) -- fails before the first change where a key is of another type
redis.call('LLEN', list)
if redis.call('LLEN', source) == 0 then return 0 end
redis.call('SADD', queues, list)
local left = join(source, list, limit)
if left == 0 then
  write_event(events, head, {[lane] = {backlog = total}},
    {[lane] = {backlog = 0, waiting = redis.call('LLEN', list)}})
end
return left
