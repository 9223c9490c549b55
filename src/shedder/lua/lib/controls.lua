-- Records of controls: a pause is one JSON object per lane, diverts are an array of orders.
-- A record that cannot be read, or of a newer version than this script knows, holds its lane:
-- starting a job against an order that we do not understand cannot be taken back.

local RECORD_VERSION = 1

-- Of an order that takes one of several selections; all others are of the first version, for workers of before.
local ORDER_VERSION = 2

local function decode(text)
  local ok, value = pcall(cjson.decode, text)
  if ok and type(value) == 'table' then return value end
  return nil
end

local function pause_in_force(text, now)
  if not text then return false end
  -- readable or not, one without an end is in force: read only for its end, as there may be hundreds
  if not string.find(text, 'until"', 1, true) then return true end
  local pause = decode(text)
  if not pause or type(pause.v) ~= 'number' or pause.v > RECORD_VERSION then return true end
  return not (type(pause['until']) == 'number' and now >= pause['until'])
end

-- the record of a pause that is in force and can be read
local function read_pause(pauses, lane)
  local text = redis.call('HGET', pauses, lane)
  return text and pause_in_force(text, now_ms()) and decode(text)
end

-- What an event tells of the pause that it replaced or ended: all that an undo needs to write it again.
local function pause_as_told(in_force, pause, waiting)
  return {paused = in_force and true or false, by = pause.by, why = pause.why, since = pause.since,
    ['until'] = pause['until'], event = pause.event, waiting = waiting}
end

-- What a damaged pause keeps from stock workers stays there.
local function is_parked(pauses, lane)
  local text = redis.call('HGET', pauses, lane)
  if not text or not pause_in_force(text, now_ms()) then return false end
  local pause = decode(text)
  return not pause or pause.parked and true or false
end

local TEXTS_OF_ORDER = {'id', 'front', 'rest', 'slot', 'bucket', 'skipped'}

local function is_drain(drain)
  return type(drain) == 'table' and (drain.most or type(drain.rate) == 'number' and type(drain.burst) == 'number')
end

local function is_order(order)
  if type(order) ~= 'table' or type(order.v) ~= 'number' or order.v > ORDER_VERSION then return false end
  for _, name in ipairs(TEXTS_OF_ORDER) do
    if type(order[name]) ~= 'string' then return false end
  end
  return type(order.since) == 'number' and type(order.select) == 'table'
    and (not order.drain or is_drain(order.drain))
end

-- nil when there are none, false when they cannot be read
local function decode_orders(text)
  if not text then return nil end
  local orders = decode(text)
  if not orders then return false end
  for index, order in pairs(orders) do
    if type(index) ~= 'number' or not is_order(order) then return false end
  end
  return orders
end

local function read_orders(diverts, lane)
  return decode_orders(redis.call('HGET', diverts, lane))
end

-- asked before the first change, so that an order for several lanes is carried out whole or not at all
local function unreadable_lane(diverts, lanes)
  for _, lane in ipairs(lanes) do
    if read_orders(diverts, lane.name) == false then return lane.name end
  end
  return nil
end

local function write_orders(diverts, lane, orders)
  if #orders == 0 then
    redis.call('HDEL', diverts, lane)
  else
    redis.call('HSET', diverts, lane, cjson.encode(orders))
  end
end

local function find_order(orders, identifier)
  for index, order in ipairs(orders or {}) do
    if order.id == identifier then return order, index end
  end
  return nil
end

local function backlog_length(order)
  return redis.call('LLEN', order.front) + redis.call('LLEN', order.rest)
    + redis.call('LLEN', order.slot)
end

-- the order whose backlog is on the way back into the lane, if there is one
local function restoring_order(orders)
  for _, order in ipairs(orders or {}) do
    if order.restoring then return order end
  end
  return nil
end

-- A limit of what runs at once counts claims from the moment they are made. The job of a worker that
-- died is counted until the upkeep finds it, or its time would have been over.
local function is_full(order, now)
  if not order.drain or not order.drain.most then return false end
  redis.call('ZREMRANGEBYSCORE', order.running, '-inf', now)
  return redis.call('ZCARD', order.running) >= order.drain.most
end

local function note_running(order, member, now, timeout)
  if order.drain and order.drain.most then
    local seconds = tonumber(timeout) or 180
    if seconds < 0 then seconds = 86400 end
    redis.call('ZADD', order.running, now + (seconds + 60) * 1000, member)
  end
end

local function forget_running(order, member)
  if order and order.drain and order.drain.most then redis.call('ZREM', order.running, member) end
end

-- A divert beats a limit: what a limit would let start goes to the backlog of the divert.
local function diverts_of(orders)
  local result = {}
  for _, order in ipairs(orders) do
    if not order.limit then result[#result + 1] = order end
  end
  return result
end

-- the order that takes everything which still arrives, if there is one
local function whole_order(orders)
  for _, order in ipairs(orders or {}) do
    if order.whole and not order.restoring then return order end
  end
  return nil
end
