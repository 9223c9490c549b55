#!lua flags=allow-oom
-- Set aside the jobs at the front of a backlog that are older than the policy allows.
--
-- A backlog is in the order of arrival, so that its oldest jobs are in front; one that is young stops
-- the step, and what stands behind it is looked at when it is in front, at the latest by the claim.
--
-- KEYS
--   policy, diverts, events   see docs/reference/keys.md
--   stale                     list: jobs of the lane that were set aside, oldest first
--   unseen                    list: ids of the lane under which no job was seen
-- ARGV
--   lane        its name
--   order       id of the divert
--   limit       jobs to look at, at most
--   job_prefix, executions_prefix, limit_prefix, list_prefix   RQ's key prefixes
-- RETURNS
--   {jobs set aside, 1 when there may be more}
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/count.lua
-- include lib/controls.lua
-- include lib/slot.lua
-- include lib/drain.lua
-- include lib/stale.lua
-- include lib/unseen.lua
local policy, diverts, events, stale, unseen = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local lane, identifier, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local rq = {
  job_prefix = ARGV[4], executions_prefix = ARGV[5], limit_prefix = ARGV[6], list_prefix = ARGV[7],
}

local after = stale_limit(policy)
local orders = after and read_orders(diverts, lane)
local order = orders and find_order(orders, identifier)
if not order or order.limit or order.restoring then return {0, 0} end
redis.call('XLEN', events)
redis.call('LLEN', stale)
redis.call('LLEN', unseen)
backlog_length(order)
local now = now_precise()
local looked_at, count = 0, 0

-- true when the first job was stale, or is no more
local function take_first()
  local source = order.front
  local id = redis.call('LINDEX', source, 0)
  if not id then
    source = order.rest
    id = redis.call('LINDEX', source, 0)
  end
  if not id then return false end
  local fields = redis.call('HMGET', rq.job_prefix .. id, 'enqueued_at', 'created_at',
    'rate_limit_key', 'rate_limit_concurrency')
  if not fields[2] then
    set_aside_unseen(unseen, id)
    note_skipped(order, id, 'gone')
    return redis.call('LPOP', source)
  end
  if not is_stale(after, fields[1], now) then return false end
  free_slot(rq, now, id, fields[3], fields[4])
  redis.call('LMOVE', source, stale, 'LEFT', 'RIGHT')
  count = count + 1
  return true
end

while looked_at < limit and take_first() do looked_at = looked_at + 1 end
note_stale(events, lane, order, stale, count)
return {count, looked_at >= limit and 1 or 0}
