#!lua flags=no-writes
-- Who holds which job that has not started, and who has passed the gate and not reported since.
--
-- A claim that cannot be read is left out.
--
-- KEYS
--   claims    sorted set: claim -> ms of its last sign of life
--   starting  hash: claim that has passed the gate -> ms when it did
-- ARGV
--   first     rank of the first claim to list, by its last sign of life
--   limit     claims to list, at most
--   starting_limit  claims past the gate to list, at most
-- RETURNS
--   {for each: 'claimed' or 'starting', worker, lane, id of the job, ms when it was claimed, id of the order whose backlog it came from or '', ms of its last sign of life or when it passed the gate, the claim}
-- include lib/token.lua
-- include lib/claim.lua
local claims, starting = KEYS[1], KEYS[2]
local first, limit, starting_limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local result = {}

local function add(which, member, at)
  local readable, claim = pcall(unpack_claim, member)
  if not readable or not claim.lane.name or not claim.id then return end
  for _, value in ipairs({which, claim.worker or '', claim.lane.name, claim.id,
    claim.claimed_at or 0, claim.order or '', math.floor(tonumber(at) or 0), member}) do
    result[#result + 1] = value
  end
end

if limit > 0 then
  local held = redis.call('ZRANGE', claims, first, first + limit - 1, 'WITHSCORES')
  for index = 1, #held, 2 do add('claimed', held[index], held[index + 1]) end
end
if starting_limit > 0 then
  local begun = redis.call('HRANDFIELD', starting, starting_limit, 'WITHVALUES')
  for index = 1, #begun, 2 do add('starting', begun[index], begun[index + 1]) end
end
return result
