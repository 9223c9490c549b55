-- What ends a claim without a start.

-- Puts a claimed job back where it came from: the front of its backlog, or of its lane.
local function give_back(claims, pauses, diverts, member)
  if not redis.call('ZSCORE', claims, member) then return false end
  local claim = unpack_claim(member)
  local orders = read_orders(diverts, claim.lane.name)
  local order = orders and (find_order(orders, claim.order) or whole_order(orders))
  local restoring = orders and restoring_order(orders)
  forget_running(order, member)
  if order and not order.restoring then
    redis.call('LPUSH', order.front, claim.id)
  elseif restoring and redis.call('EXISTS', claim.lane.kept) == 0 then
    -- what is left of that backlog is the front of the lane
    redis.call('LPUSH', restoring.front, claim.id)
  else
    put_front(claim.lane, pauses, claim.id)
    ring(claim.lane.bell, 1)
  end
  redis.call('ZREM', claims, member)
  return true
end
