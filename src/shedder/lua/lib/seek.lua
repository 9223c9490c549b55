-- Where an id stands, as far as a bounded look at both ends of a list, and at the newest claims, can
-- tell. What moves in the moments between a look at everything and a repair moves there.

local function note_ends(found, list, depth)
  for _, id in ipairs(redis.call('LRANGE', list, 0, depth - 1)) do found[id] = true end
  for _, id in ipairs(redis.call('LRANGE', list, -depth, -1)) do found[id] = true end
end

local function note_claims(found, claims, depth)
  for _, member in ipairs(redis.call('ZRANGE', claims, 0, depth - 1, 'REV')) do
    local readable, claim = pcall(unpack_claim, member)
    if readable and claim.id then found[claim.id] = true end
  end
end

-- the last position of an id within `depth` of the ends, whether it is near the end of the list, and
-- whether there is another one
local function last_position(list, id, depth)
  local near_front = redis.call('LPOS', list, id, 'RANK', 1, 'COUNT', 2, 'MAXLEN', depth)
  local near_end = redis.call('LPOS', list, id, 'RANK', -1, 'COUNT', 2, 'MAXLEN', depth)
  local last = near_end[1] or near_front[#near_front]
  if not last then return nil end
  local is_other = #near_end > 1 or #near_front > 1 or (near_front[1] or last) ~= last
  return last, near_end[1] ~= nil, is_other
end
