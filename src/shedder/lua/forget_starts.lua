#!lua flags=allow-oom
-- Forget starts that were never reported and whose job is no longer running: their worker died.
-- Claims whose last sign of life is still to come are of a clock that was set back: their leases begin anew.
--
-- KEYS
--   starting  hash of those that passed the gate
--   claims    sorted set of claims that are not started
-- ARGV
--   age           ms after which a start is looked at
--   limit         starts in the hash above which nothing is done
--   job_prefix    RQ's key prefix of jobs
--   claims_limit  claims to begin anew, at most
-- RETURNS
--   starts forgotten
-- include lib/clock.lua
-- include lib/token.lua
local starting, claims = KEYS[1], KEYS[2]
local age, limit, job_prefix, claims_limit = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]

-- a clock that is corrected by less is no matter: a lease is longer
local AHEAD_MS = 1000
local now = now_ms()
local ahead = redis.call('ZRANGE', claims, now + AHEAD_MS, '+inf', 'BYSCORE', 'LIMIT', 0, claims_limit)
for _, member in ipairs(ahead) do redis.call('ZADD', claims, 'XX', now, member) end

local size = redis.call('HLEN', starting)
if size == 0 or size > limit then return 0 end
local flat = redis.call('HGETALL', starting)
local forgotten = 0
for index = 1, #flat, 2 do
  local since = tonumber(flat[index + 1])
  if since < now - age or since > now + AHEAD_MS then
    local claim = unpack_claim(flat[index])
    local fields = redis.call('HMGET', job_prefix .. claim.id, 'status', 'worker_name')
    if fields[1] ~= 'started' or fields[2] ~= claim.worker then
      forgotten = forgotten + redis.call('HDEL', starting, flat[index])
    end
  end
end
return forgotten
