#!lua flags=allow-oom
-- Forget jobs that hold a place under a limit of what runs at once and whose worker died.
--
-- One that was claimed and not started is the lease's to take back. One that has started runs for as
-- long as RQ has a live execution of it by the same worker, which its heartbeats keep.
--
-- KEYS
--   running  sorted set: claim -> ms at which it is forgotten in any case
--   claims   sorted set of claims that are not started
-- ARGV
--   age    ms after its claim before which a job is not looked at
--   limit  jobs to look at, those first whose time is over first
--   job_prefix, executions_prefix   RQ's key prefixes
-- RETURNS
--   jobs forgotten
-- include lib/clock.lua
-- include lib/token.lua
local running, claims = KEYS[1], KEYS[2]
local age, limit, job_prefix, executions_prefix = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]

-- a claim of a time to come is of a clock that was set back
local AHEAD_MS = 1000
local now = now_ms()

local function is_over(member)
  local claim = unpack_claim(member)
  local is_young = claim.claimed_at > now - age and claim.claimed_at <= now + AHEAD_MS
  if is_young or redis.call('ZSCORE', claims, member) then return false end
  local fields = redis.call('HMGET', job_prefix .. claim.id, 'status', 'worker_name')
  return fields[1] ~= 'started' or fields[2] ~= claim.worker
    or redis.call('EXISTS', executions_prefix .. claim.id) == 0
end

local forgotten = 0
for _, member in ipairs(redis.call('ZRANGE', running, 0, limit - 1)) do
  if is_over(member) then forgotten = forgotten + redis.call('ZREM', running, member) end
end
return forgotten
