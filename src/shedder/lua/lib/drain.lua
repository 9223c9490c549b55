-- The pace of a drain: a bucket that stores tokens (rate: jobs per ms, burst: most at once).
-- It is settled at the old rate before a change, so that no change of rate gives tokens away.

-- As for a lane: a key that somebody made something else must be met before the first change.
local function check_order_types(order)
  backlog_length(order)
  redis.call('HLEN', order.bucket)
  redis.call('LLEN', order.skipped)
end

-- As `unreadable_lane`, for scripts that go on to the keys of the orders.
local function unreadable_orders(diverts, lanes)
  for _, lane in ipairs(lanes) do
    local orders = read_orders(diverts, lane.name)
    if orders == false then return lane.name end
    for _, order in ipairs(orders or {}) do check_order_types(order) end
  end
  return nil
end

local function store_tokens(order, tokens, now)
  if order.drain and not order.drain.rate then return end
  redis.call('HSET', order.bucket, 'tokens', string.format('%.6f', tokens),
    'at', string.format('%.3f', now))
end

local function settle(order, now)
  if not order.drain.rate then return 1 end -- a limit of what runs at once has no pace
  local state = redis.call('HMGET', order.bucket, 'tokens', 'at')
  local tokens, at = tonumber(state[1]), tonumber(state[2])
  -- one that somebody has deleted or damaged, or of a clock that was set back, begins anew: nobody
  -- would ever put a token in
  if not (tokens and at and tokens >= 0 and at <= now) then
    store_tokens(order, 0, now)
    return 0
  end
  return math.min(tokens + (now - at) * order.drain.rate, order.drain.burst)
end

local SKIPPED_NAMES = 100

local function note_skipped(order, id, cause)
  count(order.bucket, 'skipped:' .. cause, 1)
  if redis.call('LLEN', order.skipped) < SKIPPED_NAMES then
    redis.call('RPUSH', order.skipped, id .. ' ' .. cause)
  end
end

-- A drain that begins counts anew. What stands released in the list of stock workers is still known.
local function begin_counts(order)
  for _, name in ipairs(redis.call('HKEYS', order.bucket)) do
    if name ~= 'last_released' then redis.call('HDEL', order.bucket, name) end
  end
  redis.call('DEL', order.skipped)
end

-- what a drain did in numbers, for its last event
local function drain_counts(order)
  local counts = {released = 0, failed = 0, skipped = {}}
  local state = redis.call('HGETALL', order.bucket)
  for index = 1, #state, 2 do
    local cause = string.match(state[index], '^skipped:(.*)$')
    if cause then counts.skipped[cause] = tonumber(state[index + 1]) or 0 end
    local name = state[index]
    if name == 'released' or name == 'failed' then counts[name] = tonumber(state[index + 1]) or 0 end
  end
  counts.names = redis.call('LRANGE', order.skipped, 0, SKIPPED_NAMES - 1)
  return counts
end

-- adds what one drain did to what others did
local function add_counts(told, counts)
  told.released = (told.released or 0) + counts.released
  told.failed = (told.failed or 0) + counts.failed
  told.skipped = told.skipped or {}
  for cause, jobs in pairs(counts.skipped) do told.skipped[cause] = (told.skipped[cause] or 0) + jobs end
end

local DRAIN_RECORD_TTL_MS = 604800000

-- The record of a divert stays with its numbers, because the undo of the drain that ended it writes it again.
local function remove_order(diverts, lane, orders, order)
  local _, index = find_order(orders, order.id)
  table.remove(orders, index)
  write_orders(diverts, lane, orders)
  redis.call('HSET', order.bucket, 'ended', cjson.encode(order))
  redis.call('PEXPIRE', order.bucket, DRAIN_RECORD_TTL_MS)
  redis.call('PEXPIRE', order.skipped, DRAIN_RECORD_TTL_MS)
end

-- Ends diverts that had nothing to drain, with one event for all.
local function end_empty_orders(events, diverts, finished, by, why)
  local lanes, after = {}, {names = {}}
  for _, each in ipairs(finished) do
    local counts = drain_counts(each.order)
    lanes[#lanes + 1] = each.lane
    add_counts(after, counts)
    for _, name in ipairs(counts.names) do after.names[#after.names + 1] = name end
    remove_order(diverts, each.lane, each.orders, each.order)
  end
  local head = {v = 1, verb = 'drained', lanes = lanes, by = by, why = why, order = finished[1].order.id}
  write_event(events, cjson.encode(head), {backlog = 0}, after)
end

-- Ends a divert whose backlog is empty, and says so in the journal.
local function end_order(events, diverts, lane, orders, order, verb, now)
  local counts = drain_counts(order)
  remove_order(diverts, lane, orders, order)
  local head = {
    v = 1, verb = verb, lanes = {lane}, by = order.drain and order.drain.by or order.by,
    why = order.drain and order.drain.why or order.why, order = order.id,
  }
  write_event(events, cjson.encode(head), {backlog = 0, diverted_since = order.since}, counts)
end
