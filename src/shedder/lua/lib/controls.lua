-- Records of controls: a pause is one JSON object per lane, diverts are an array of orders.
-- A record that cannot be read, or of a newer version than this script knows, holds its lane:
-- starting a job against an order that we do not understand cannot be taken back.

local RECORD_VERSION = 1

local function decode(text)
  local ok, value = pcall(cjson.decode, text)
  if ok and type(value) == 'table' then return value end
  return nil
end

local function pause_in_force(text, now)
  if not text then return false end
  local pause = decode(text)
  if not pause or type(pause.v) ~= 'number' or pause.v > RECORD_VERSION then return true end
  return not (type(pause['until']) == 'number' and now >= pause['until'])
end

-- the record of a pause that is in force and can be read
local function read_pause(pauses, lane)
  local text = redis.call('HGET', pauses, lane)
  return text and pause_in_force(text, now_ms()) and decode(text)
end

local function is_parked(pauses, lane)
  local pause = read_pause(pauses, lane)
  return pause and pause.parked and true or false
end

-- nil when there are none, false when they cannot be read
local function decode_orders(text)
  if not text then return nil end
  local orders = decode(text)
  if not orders then return false end
  for _, order in ipairs(orders) do
    if type(order) ~= 'table' or type(order.v) ~= 'number' or order.v > RECORD_VERSION then
      return false
    end
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

-- the order that takes everything which still arrives, if there is one
local function whole_order(orders)
  for _, order in ipairs(orders or {}) do
    if order.whole and not order.restoring then return order end
  end
  return nil
end
