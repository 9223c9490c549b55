#!lua flags=allow-oom
-- Forget starts that were never reported and whose job is no longer running: their worker died.
--
-- KEYS
--   starting  hash of those that passed the gate
-- ARGV
--   age         ms after which a start is looked at
--   limit       starts in the hash above which nothing is done
--   job_prefix  RQ's key prefix of jobs
-- RETURNS
--   starts forgotten
-- include lib/clock.lua
-- include lib/token.lua
local starting = KEYS[1]
local age, limit, job_prefix = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]

local size = redis.call('HLEN', starting)
if size == 0 or size > limit then return 0 end
local before = now_ms() - age
local flat = redis.call('HGETALL', starting)
local forgotten = 0
for index = 1, #flat, 2 do
  if tonumber(flat[index + 1]) < before then
    local claim = unpack_claim(flat[index])
    local fields = redis.call('HMGET', job_prefix .. claim.id, 'status', 'worker_name')
    if fields[1] ~= 'started' or fields[2] ~= claim.worker then
      forgotten = forgotten + redis.call('HDEL', starting, flat[index])
    end
  end
end
return forgotten
