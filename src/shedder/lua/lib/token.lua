-- A claim is an array packed with MessagePack, and the token that fences its holder:
-- {worker, lane, id, claimed at (ms), list, kept, parked, bell, order or '', number}.

local function pack_claim(worker, lane, id, at, order, number)
  return cmsgpack.pack({
    worker, lane.name, id, at, lane.list, lane.kept, lane.parked, lane.bell, order, number,
  })
end

local function unpack_claim(member)
  local claim = cmsgpack.unpack(member)
  return {
    worker = claim[1], id = claim[3], claimed_at = claim[4], order = claim[9], number = claim[10],
    lane = {name = claim[2], list = claim[5], kept = claim[6], parked = claim[7], bell = claim[8]},
  }
end
