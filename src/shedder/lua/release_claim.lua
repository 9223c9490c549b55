#!lua flags=allow-oom
-- Give a claimed job back that this worker will not run: to the front, as if it had not been taken.
--
-- KEYS
--   claims, pauses, diverts   see docs/reference/keys.md
-- ARGV
--   member      the claim
--   is_crash    1 when the process that was to run the job died before it started, else 0
--   job_prefix  RQ's key prefix of jobs
-- RETURNS
--   1 when it was ours, else 0
-- include lib/clock.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
-- include lib/token.lua
-- include lib/claim.lua
-- include lib/job.lua
local claims, pauses, diverts = KEYS[1], KEYS[2], KEYS[3]
local member, is_crash = ARGV[1], ARGV[2] == '1'
local rq = {job_prefix = ARGV[3]}

if not give_back(claims, pauses, diverts, member) then return 0 end
if is_crash then note_crash(rq, unpack_claim(member).id) end
return 1
