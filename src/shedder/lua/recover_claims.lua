#!lua flags=allow-oom
-- Put back, to the front of their lanes, the jobs in the hands of workers that have died.
--
-- A claim that cannot be read, or whose lane is broken, stays.
--
-- KEYS
--   claims, pauses, diverts, meters, events, operation   see docs/reference/keys.md
-- ARGV
--   step        of the operation
--   head        JSON: what the event says; its lanes are put in here
--   age         ms without a sign of life after which a worker counts as dead
--   first       rank of the first claim to look at, by its last sign of life
--   limit       claims to look at, at most
--   job_prefix  RQ's key prefix of jobs
-- RETURNS
--   {event or '' when no job was put back, jobs put back, claims left that are as old}
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/count.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
-- include lib/token.lua
-- include lib/claim.lua
-- include lib/job.lua
local claims, pauses, diverts, meters, events, operation =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local step, head, age, first, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local rq = {job_prefix = ARGV[6]}

local replayed = recall(operation, step)
if replayed then return replayed end
redis.call('XLEN', events)
redis.call('HLEN', meters)
local lanes, after, returned, left = {}, {}, 0, 0

local function put_back(member)
  local claim = unpack_claim(member)
  waiting_in(claim.lane) -- fails before the first change where a key is of another type
  if not give_back(claims, pauses, diverts, member) then return end
  note_crash(rq, claim.id)
  local name = claim.lane.name
  if not after[name] then
    lanes[#lanes + 1] = name
    after[name] = {jobs = 0, names = {}}
  end
  after[name].jobs = after[name].jobs + 1
  after[name].names[after[name].jobs] = claim.id
  returned = returned + 1
end

local stale = redis.call('ZRANGE', claims, '-inf', now_ms() - age, 'BYSCORE', 'LIMIT', first, limit)
for _, member in ipairs(stale) do
  if not pcall(put_back, member) then left = left + 1 end
end
if returned == 0 then return remember(operation, step, {'', 0, left}) end
count(meters, 'claims:taken_back', returned)
local said = cjson.decode(head)
said.lanes = lanes
local event = write_event(events, cjson.encode(said), {}, after)
return remember(operation, step, {event, returned, left})
