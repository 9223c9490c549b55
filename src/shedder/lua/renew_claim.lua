#!lua flags=allow-oom
-- A sign of life for a claim whose worker still prepares the job, such as a long import.
--
-- KEYS
--   claims  sorted set of claims
-- ARGV
--   member  the claim
-- RETURNS
--   1 when the claim is still ours, else 0
-- include lib/clock.lua
local claims = KEYS[1]
local member = ARGV[1]

if not redis.call('ZSCORE', claims, member) then return 0 end
redis.call('ZADD', claims, 'XX', now_precise(), member)
return 1
