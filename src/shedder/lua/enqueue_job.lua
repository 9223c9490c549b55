#!lua
-- Save one job and put its id where the controls of its lane say, in one step.
--
-- Not allowed when memory is full: a producer must learn that, as it does from RQ.
--
-- KEYS
--   pauses, diverts   see docs/reference/keys.md
--   queues            set: RQ's queues
--   job               hash of the job
--   list, kept, parked, bell  of the lane
-- ARGV
--   id         of the job
--   lane       name of the lane
--   at_front   1 or 0
--   unique     1 to refuse when a job with this id exists
--   ttl        s until the job expires, 0 for never
--   created_at, enqueued_at   of the job: the same twice is one order whose reply was lost
--   name       function of the job
--   meta       JSON: fields of the job's meta as text
--   cleared    names of hash fields to remove, with spaces between
--   then field, value, ...
-- RETURNS
--   1 saved and pushed, 0 refused because the id exists
-- include lib/lanes.lua
local pauses, diverts, queues, job = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local lane = {name = ARGV[2], list = KEYS[5], kept = KEYS[6], parked = KEYS[7], bell = KEYS[8]}
local id, at_front, unique, ttl = ARGV[1], ARGV[3] == '1', ARGV[4] == '1', tonumber(ARGV[5])
local created_at, enqueued_at, name, meta = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local cleared = {}
for field in string.gmatch(ARGV[10], '%S+') do cleared[#cleared + 1] = field end
local fields = {unpack(ARGV, 11)}

local before = redis.call('HMGET', job, 'created_at', 'enqueued_at')
if before[1] == created_at and before[2] == enqueued_at then return 1 end
if unique and redis.call('EXISTS', job) == 1 then return 0 end

redis.call('SADD', queues, lane.list)
if #cleared > 0 then redis.call('HDEL', job, unpack(cleared)) end
redis.call('HSET', job, unpack(fields))
if ttl > 0 then redis.call('EXPIRE', job, ttl) end

-- The everyday case by itself, before what only an incident needs is so much as defined.
if not at_front and redis.call('EXISTS', pauses, diverts) == 0 then
  redis.call('RPUSH', lane.list, id)
  ring(lane.bell, 1)
  return 1
end
-- include lib/clock.lua
-- include lib/controls.lua
-- include lib/lane.lua
-- include lib/selection.lua
-- include lib/job.lua
-- include lib/arrival.lua
arrive(lane, pauses, diverts, id, at_front, name, meta)
return 1
