#!lua flags=allow-oom
-- Set a divert on lanes. A divert of everything moves each whole lane here, by renaming.
--
-- A lane that has an order with the same selection keeps that order: a drain of it stops. With
-- `terms` it is a limit: an order that drains from the beginning, and stays.
--
-- KEYS
--   diverts, events, operation   see docs/reference/keys.md
--   then for each lane: list, kept, parked, bell, front, rest, slot, bucket, skipped, running
-- ARGV
--   step       of the operation
--   head       JSON: what the event says
--   order      id of the order
--   by, why    who and for which reason
--   selection  JSON: what the order takes, {} for everything
--   terms      JSON: rate (jobs per ms) and burst, most (jobs that run at once); '' for a divert
--   duration   ms until a limit ends by itself, 0 for never
--   then for each lane: its name
-- RETURNS
--   {event, ms of the server's clock, then for each lane: id of the order in force there, jobs moved now, jobs of the lane left to scan, JSON of the limit that was changed or ''}
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/count.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
-- include lib/drain.lua
local diverts, events, operation = KEYS[1], KEYS[2], KEYS[3]
local step, head, identifier, by, why, selection = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local terms, duration = ARGV[7], tonumber(ARGV[8])
local lanes = lanes_from(KEYS, 4, ARGV, 9, 10)

local replayed = recall(operation, step)
if replayed then return replayed end
check_types(events, lanes)
local now = now_ms()
local before, after, result, set = {}, {}, {'', now}, {}
local whole, select = selection == '{}', cjson.decode(selection)
-- What says a hundred rules stands in the record once: each claim and each arrival reads it.
if select.any then selection = redis.sha1hex(selection) end

local function same_order(orders)
  for _, order in ipairs(orders) do
    local is_same_kind = (order.limit or false) == (terms ~= '')
    if order.selection == selection and is_same_kind and not order.restoring then return order end
  end
  return nil
end

local function new_order(lane)
  return {
    v = select.any and ORDER_VERSION or 1, id = identifier, by = by, why = why, since = now, whole = whole,
    selection = selection, select = select, scanning = not whole, front = lane.more[1],
    rest = lane.more[2], slot = lane.more[3], bucket = lane.more[4], skipped = lane.more[5], running = lane.more[6],
  }
end

-- Onto names that are free only: RENAME destroys what it falls on. What cannot be renamed stays in
-- the lane, and the claim sweeps it.
local function move(source, target)
  if redis.call('EXISTS', source) == 0 or redis.call('EXISTS', target) == 1 then return 0 end
  redis.call('RENAME', source, target)
  return redis.call('LLEN', target)
end

-- What waits under a limit is older than the rest of its lane.
local function move_limited(orders, order)
  local moved = 0
  for _, limit in ipairs(orders) do
    if limit.limit and not limit.restoring then
      moved = moved + move(limit.front, order.front)
      if redis.call('EXISTS', limit.front) == 0 then moved = moved + move(limit.rest, order.rest) end
    end
  end
  return moved
end

local function move_whole(lane, orders, order)
  local moved = terms == '' and move_limited(orders, order) or 0
  if redis.call('EXISTS', order.rest) == 0 then moved = moved + move(lane.kept, order.front) end
  if redis.call('EXISTS', lane.kept) == 1 then return moved end
  moved = moved + move(lane.parked, order.rest)
  if redis.call('EXISTS', lane.parked) == 1 then return moved end
  return moved + move(lane.list, order.rest)
end

-- what a limit says that is about to be changed, for whoever changes it and for the way back
local function limit_of(order)
  if not (order and order.limit and order.drain) then return nil end
  local drain = order.drain
  return {rate = drain.rate, most = drain.most, by = drain.by, why = drain.why,
    since = drain.since, ['until'] = order['until'], event = order.event}
end

-- A change of a limit's rate gives no tokens away: the bucket is settled at the old one first.
local function set_terms(order)
  local tokens = order.drain and settle(order, now) or 0
  -- by which two changes of one millisecond are told apart
  local since = order.drain and math.max(now, order.since + 1) or now
  order.drain = nil
  if terms == '' then return end
  local drain = cjson.decode(terms)
  drain.stay, drain.by, drain.why, drain.since = true, by, why, since
  order.by, order.why, order.since = by, why, since
  order.limit, order.drain = true, drain
  if duration > 0 then order['until'] = now + duration else order['until'] = nil end
  store_tokens(order, math.min(tokens, drain.burst or 0), now)
end

local function divert(lane)
  local orders = read_orders(diverts, lane.name) or {}
  local order = same_order(orders)
  local known = order ~= nil
  local was = known and {order = order.id, event = order.event, drain = order.drain} or {}
  local replaced = limit_of(order)
  if not known then
    order = new_order(lane)
    orders[#orders + 1] = order
  end
  set_terms(order)
  order.scanning = not whole and waiting_in(lane) > 0
  local backlog = backlog_length(order)
  local moved = whole and move_whole(lane, orders, order) or 0
  write_orders(diverts, lane.name, orders)
  local waiting = waiting_in(lane)
  before[lane.name] = {diverted = known, draining = was.drain ~= nil, backlog = backlog,
    waiting = waiting + moved, limit = replaced, order = was.order, event = was.event,
    drain = not replaced and was.drain or nil}
  after[lane.name] = {diverted = true, backlog = backlog + moved, waiting = waiting,
    since = terms ~= '' and order.since or nil}
  set[#set + 1] = {lane = lane.name, orders = orders, order = order}
  result[#result + 1] = order.id
  result[#result + 1] = moved
  result[#result + 1] = waiting
  result[#result + 1] = replaced and cjson.encode(replaced) or ''
end

local unreadable = unreadable_orders(diverts, lanes)
if unreadable then return redis.error_reply('UNREADABLE ' .. unreadable) end
for _, lane in ipairs(lanes) do divert(lane) end
result[1] = write_event(events, head, before, after)
-- written once more: jobs have moved already, and their order must stand whatever comes of the event
for _, each in ipairs(set) do
  each.order.event = result[1]
  write_orders(diverts, each.lane, each.orders)
end
return remember(operation, step, result)
