#!lua flags=allow-oom
-- Give all claimed jobs back to the front of their lanes, because shedder is to be removed.
--
-- Those that were claimed last go first, so that the order stays. A claim that cannot be read stays.
--
-- KEYS
--   claims, pauses, diverts, events, operation   see docs/reference/keys.md
-- ARGV
--   step   of the operation; the first one always writes its event
--   head   JSON: what the event says
--   limit  claims to give back, at most
--   first  1 at the first step, else 0
-- RETURNS
--   {event or '', jobs given back, claims left}
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
-- include lib/token.lua
-- include lib/claim.lua
local claims, pauses, diverts, events, operation = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local step, head, limit, is_first = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'

local replayed = recall(operation, step)
if replayed then return replayed end

local function is_later(one, other)
  if one.claim.claimed_at ~= other.claim.claimed_at then
    return one.claim.claimed_at > other.claim.claimed_at
  end
  return one.claim.number > other.claim.number
end

local function readable_claims()
  local found, lanes = {}, {}
  for _, member in ipairs(redis.call('ZRANGE', claims, 0, limit - 1)) do
    local is_readable, claim = pcall(unpack_claim, member)
    if is_readable and claim.lane.name and claim.id then
      claim.claimed_at, claim.number = tonumber(claim.claimed_at) or 0, tonumber(claim.number) or 0
      found[#found + 1] = {member = member, claim = claim}
      lanes[#lanes + 1] = claim.lane
    end
  end
  check_types(events, lanes)
  table.sort(found, is_later)
  return found
end

local before, returned, event = redis.call('ZCARD', claims), 0, ''
for _, each in ipairs(readable_claims()) do
  if give_back(claims, pauses, diverts, each.member) then returned = returned + 1 end
end
local left = redis.call('ZCARD', claims)
if is_first or returned > 0 then
  event = write_event(events, head, {claims = before}, {claims = left})
end
return remember(operation, step, {event, returned, left})
