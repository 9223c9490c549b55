-- A string that expires says that somebody is at something, and is written anew while that is so.

-- Nobody asks for longer. One that lasts longer is of a server's clock that was set back since, by as much as
-- that; who wrote it, if he still lives, will write it anew.
local LONGEST_LEASE_MS = 60000

local function is_held(lease)
  local left = redis.call('PTTL', lease)
  return left > 0 and left <= LONGEST_LEASE_MS
end
