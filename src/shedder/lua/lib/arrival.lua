-- Where a job goes that arrives in a lane.

local ARRIVAL_SWEEP = 100

-- left to one step, however many jobs arrive in it
local sweep_left = 5 * ARRIVAL_SWEEP

local function order_on_arrival(lane, diverts, name, meta)
  local orders = read_orders(diverts, lane.name)
  if not orders then return nil end
  return (order_for(orders, name ~= '' and name or nil, decode(meta), 0))
end

-- Whoever pushed straight onto the list (a stock producer, a pipeline, RQ itself) came earlier: that
-- goes in first, in order. What is too much for one arrival stays in the list, and this job behind it.
local function push_behind(lane, target, id)
  for _ = 1, math.min(ARRIVAL_SWEEP, sweep_left) do
    if not redis.call('LMOVE', lane.list, target, 'LEFT', 'RIGHT') then break end
    sweep_left = sweep_left - 1
  end
  redis.call('RPUSH', redis.call('EXISTS', lane.list) == 1 and lane.list or target, id)
end

local function push_to_lane(lane, pauses, id, at_front)
  if at_front then
    put_front(lane, pauses, id)
  elseif is_parked(pauses, lane.name) then
    push_behind(lane, lane.parked, id)
  else
    redis.call('RPUSH', lane.list, id)
  end
  ring(lane.bell, 1)
end

-- The list of a lane that drains may hold what was released for stock workers.
local function push_to_backlog(lane, order, id, at_front)
  if at_front then
    redis.call('LPUSH', order.front, id)
  elseif order.whole and not order.drain then
    push_behind(lane, order.rest, id)
  else
    redis.call('RPUSH', order.rest, id)
  end
end

-- A damaged control must not make a push fail, because RQ pushes where an error loses the job:
-- the plain list is always right, since the claim decides once more. Until a scan has been through
-- the lane, what arrives stays behind what came before it, and the scan takes both.
local function arrive(lane, pauses, diverts, id, at_front, name, meta)
  local read, order = pcall(order_on_arrival, lane, diverts, name, meta)
  if read and order and (at_front or not order.scanning) then
    push_to_backlog(lane, order, id, at_front)
  elseif not read or not pcall(push_to_lane, lane, pauses, id, at_front) then
    redis.call(at_front and 'LPUSH' or 'RPUSH', lane.list, id)
  end
end
