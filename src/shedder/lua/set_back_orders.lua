#!lua flags=allow-oom
-- Undo a change of diverts, drains or limits on starts, unless one was changed since.
--
-- Each order says again what it said before; a divert that a drain has ended stands again.
--
-- KEYS
--   diverts, events, operation   see docs/reference/keys.md
--   then for each lane: list, kept, parked, bell
-- ARGV
--   step  of the operation
--   head  JSON: what the event says
--   then for each lane: its name, JSON by the order's id of what must stand there now (`is`: event, since, drain's event) and what stood before (`was`: event, drain, for a limit by, why, since, until; `ended`: an order that the drain has ended at once; `bucket`: where one that ended later is kept)
-- RETURNS
--   {'done', event, ms of the server's clock, then for each order: lane, order, jobs in its backlog, jobs waiting in the lane, rate until now (jobs per ms, as text), JSON of the limit that was changed or ''}
--   {'changed', lane, who has changed it since or ''}
--   {'over', lane, who has set it}    the limit that stood before would have ended by now
--   {'ended', '', ''}     none of these orders stands any more
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/count.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
-- include lib/drain.lua
local diverts, events, operation = KEYS[1], KEYS[2], KEYS[3]
local step, head = ARGV[1], ARGV[2]
local names, items = {}, {}
for index = 3, #ARGV, 2 do
  names[#names + 1] = ARGV[index]
  items[ARGV[index]] = cjson.decode(ARGV[index + 1])
end
local lanes = lanes_from(KEYS, 4, names, 1, 4)

local replayed = recall(operation, step)
if replayed then return replayed end
check_types(events, lanes)
local unreadable = unreadable_lane(diverts, lanes)
if unreadable then return redis.error_reply('UNREADABLE ' .. unreadable) end
local now = now_precise()

local function drain_event(order)
  return order.drain and (order.drain.event or 'unknown') or ''
end

-- An order without an event is of a shedder that noted none: a limit is known by when it was set.
local function is_expected(order, is)
  if order.limit then
    return (not order.event or order.event == is.event) and order.since == is.since
  end
  return (not is.event or not order.event or order.event == is.event) and drain_event(order) == is.drain
end

local function same_selection(orders, ended)
  for _, order in ipairs(orders) do
    if order.selection == ended.selection and not order.limit then return order end
  end
  return nil
end

-- A divert that a drain let run empty, if that was its last drain; not one that had drained before, and so would
-- have ended as well.
local function ended_later(item)
  local text = item.bucket and redis.pcall('HGET', item.bucket, 'ended')
  local order = type(text) == 'string' and decode(text)
  local drain = item.was.drain
  if not order or not is_order(order) or drain_event(order) ~= item.is.drain then return nil end
  return not (drain and not drain.stay) and order or nil
end

local function is_over(item)
  return item.was['until'] and now >= item.was['until']
end

-- what is to be done with one order: 'set', 'revive' or 'skip'; or why nothing is: 'changed', 'over'
local function look(orders, id, item)
  local order = find_order(orders, id)
  item.ended = item.ended or not order and ended_later(item) or nil
  if item.ended then
    local other = order or same_selection(orders, item.ended)
    return other and 'changed' or 'revive', other
  end
  if not order or order.restoring or order['until'] and now >= order['until'] then return 'skip' end
  if not is_expected(order, item.is) then return 'changed', order end
  return is_over(item) and 'over' or 'set', order
end

local function in_order_of_age(orders, order)
  for index, each in ipairs(orders) do
    if each.since > order.since then return index end
  end
  return #orders + 1
end

local function revive(orders, item)
  local order = item.ended
  table.insert(orders, in_order_of_age(orders, order), order)
  redis.call('PERSIST', order.bucket)
  redis.call('PERSIST', order.skipped)
  redis.call('HDEL', order.bucket, 'ended')
  return order
end

-- The bucket is settled at the rate until now, so that a change gives no tokens away.
local function set_drain(order, drain)
  local tokens = order.drain and settle(order, now) or 0
  order.drain = drain or nil
  store_tokens(order, math.min(tokens, order.drain and order.drain.burst or 0), now)
end

local function limit_as_told(order)
  if not (order.limit and order.drain) then return nil end
  local drain = order.drain
  return {rate = drain.rate, most = drain.most, by = drain.by, why = drain.why,
    since = drain.since, ['until'] = order['until'], event = order.event}
end

local function set_back(order, item)
  local was = item.was
  set_drain(order, was.drain)
  if order.limit then
    order.by, order.why, order.since, order['until'] = was.by, was.why, was.since, was['until']
  end
  if item.is.event then order.event = was.event end
end

local todo, standing = {}, {}
for _, lane in ipairs(lanes) do
  standing[lane.name] = read_orders(diverts, lane.name) or {}
  for id, item in pairs(items[lane.name]) do
    local state, other = look(standing[lane.name], id, item)
    if state == 'changed' or state == 'over' then
      local who = other and (other.drain and other.drain.by or other.by) or ''
      return remember(operation, step, {state, lane.name, who})
    end
    if state ~= 'skip' then todo[#todo + 1] = {lane, id, item, state} end
  end
end
for _, each in ipairs(todo) do
  local lane, id, item, state = unpack(each)
  check_order_types(state == 'set' and find_order(standing[lane.name], id) or item.ended)
end
if #todo == 0 then return remember(operation, step, {'ended', '', ''}) end

local before, after, result = {}, {}, {'done', '', math.floor(now)}

local function tell(name, order, was, limit, backlog, waiting)
  before[name] = before[name] or {rate = 0, backlog = 0, waiting = waiting, diverted = true, drains = {}}
  after[name] = after[name] or {rate = 0, backlog = 0, waiting = waiting, diverted = true, drains = {}}
  before[name].backlog, after[name].backlog = before[name].backlog + backlog, after[name].backlog + backlog
  before[name].rate = math.max(before[name].rate, was.drain and was.drain.rate and was.drain.rate * 1000 or 0)
  local rate = order.drain and order.drain.rate
  after[name].rate = math.max(after[name].rate, rate and rate * 1000 or 0)
  before[name].order, before[name].event, before[name].limit = order.id, was.event, limit
  after[name].event = order.event
  if order.limit then
    after[name].since = order.since
  else
    before[name].drains[order.id], after[name].drains[order.id] = was.drain or false, drain_event(order)
    before[name].drain = was.drain
  end
end

for _, each in ipairs(todo) do
  local lane, id, item, state = unpack(each)
  local orders = standing[lane.name]
  local order = state == 'revive' and revive(orders, item) or find_order(orders, id)
  local was, limit = {event = order.event, drain = state == 'set' and order.drain or nil}, limit_as_told(order)
  set_back(order, item)
  local backlog, waiting = backlog_length(order), waiting_in(lane)
  tell(lane.name, order, was, limit, backlog, waiting)
  if state == 'revive' then before[lane.name].revived = true end
  for _, value in ipairs({lane.name, id, backlog, waiting, tostring(was.drain and was.drain.rate or 0),
    limit and cjson.encode(limit) or ''}) do
    result[#result + 1] = value
  end
end
for _, lane in ipairs(lanes) do
  write_orders(diverts, lane.name, standing[lane.name])
  ring(lane.bell, 8)
end
result[2] = write_event(events, head, before, after)
return remember(operation, step, result)
