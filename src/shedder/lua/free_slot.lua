#!lua flags=allow-oom
-- Free the slot of RQ's own rate limit that a job holds which a divert of its whole lane took.
--
-- KEYS
--   diverts  hash: lane -> orders
--   job      hash of the job
-- ARGV
--   id   of the job
--   key  of the rate limit
--   job_prefix, executions_prefix, limit_prefix, list_prefix   RQ's key prefixes
-- RETURNS
--   1 when the slot was freed, else 0
-- include lib/clock.lua
-- include lib/controls.lua
-- include lib/slot.lua
local diverts, job = KEYS[1], KEYS[2]
local id, key = ARGV[1], ARGV[2]
local rq = {
  job_prefix = ARGV[3], executions_prefix = ARGV[4], limit_prefix = ARGV[5], list_prefix = ARGV[6],
}

local PROMOTED_LATELY = 1000

local fields = redis.call('HMGET', job, 'status', 'origin', 'rate_limit_concurrency')
if fields[1] ~= 'queued' or not fields[2] then return 0 end
local order = whole_order(read_orders(diverts, fields[2]) or {})
-- a drain that is under way takes slots for the jobs that it releases
if not order or order.drain then return 0 end
-- one that RQ has promoted just now is still where stock workers take it, and must not run without
local list = rq.list_prefix .. fields[2]
if redis.call('LPOS', list, id, 'RANK', -1, 'MAXLEN', PROMOTED_LATELY) then
  redis.call('LREM', list, -1, id)
  redis.call('RPUSH', order.rest, id)
end
free_slot(rq, now_precise(), id, key, fields[3])
return 1
