#!lua flags=allow-oom
-- Order the drain of backlogs, change its rate, or stop it.
--
-- The bucket is settled at the old rate first, so that a change gives no tokens away.
--
-- KEYS
--   diverts, events, operation   see docs/reference/keys.md
--   then for each lane: list, kept, parked, bell
-- ARGV
--   step    of the operation
--   head    JSON: what the event says
--   order   id of the only order to drain, '' for all of a lane
--   rate    jobs per ms for each backlog, 0 to stop
--   burst   jobs that may start at once
--   stay    1 when the divert stays in force after its backlog is empty
--   halt    share of its last jobs that must fail for it to halt, 0 for never
--   by, why who and for which reason
--   then for each lane: its name
-- RETURNS
--   {event or '' when there is no backlog, ms of the server's clock, then for each order: lane, order, jobs in its backlog, rate before (jobs per ms, as text)}
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/count.lua
-- include lib/controls.lua
-- include lib/lanes.lua
-- include lib/lane.lua
-- include lib/drain.lua
local diverts, events, operation = KEYS[1], KEYS[2], KEYS[3]
local step, head, only = ARGV[1], ARGV[2], ARGV[3]
local rate, burst, stay = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1'
local halt_at = tonumber(ARGV[7])
local by, why = ARGV[8], ARGV[9]
local lanes = lanes_from(KEYS, 4, ARGV, 10, 4)

local replayed = recall(operation, step)
if replayed then return replayed end
check_types(events, lanes)
local now = now_precise()
local before, after, result = {}, {}, {'', math.floor(now)}

-- Where nothing is left to drain the divert ends here: no claim may ever come by. What others pushed
-- into a lane that is diverted as a whole still has to go through the backlog.
local finished = {}

local function drain(lane, orders, order)
  local old_rate = order.drain and order.drain.rate or 0
  local backlog = backlog_length(order)
  local old_drain, tokens = order.drain, 0
  if order.drain then tokens = settle(order, now) elseif rate > 0 then begin_counts(order) end
  store_tokens(order, math.min(tokens, burst), now)
  local others = before[lane.name] or {rate = 0, backlog = 0, drains = {}}
  local told = after[lane.name] or {}
  if old_drain and rate == 0 then add_counts(told, drain_counts(order)) end
  others.drains[order.id] = old_drain or false
  if rate > 0 then
    order.halted = nil
    order.drain = {rate = rate, burst = burst, stay = stay, by = by, why = why,
      halt = halt_at > 0 and halt_at or nil, since = order.drain and order.drain.since or math.floor(now)}
    if backlog == 0 and not stay and not order.scanning and not (order.whole and waiting_in(lane) > 0) then
      finished[#finished + 1] = {lane = lane.name, orders = orders, order = order}
      others.ended = others.ended or {}
      others.ended[order.id] = order
    end
  else
    order.drain = nil
  end
  -- a lane may have several orders: the event tells their jobs in all, and the fastest
  local in_all = backlog + others.backlog
  before[lane.name] = {rate = math.max(old_rate * 1000, others.rate), backlog = in_all,
    drains = others.drains, ended = others.ended}
  told.rate, told.backlog = rate * 1000, in_all
  after[lane.name] = told
  result[#result + 1], result[#result + 2] = lane.name, order.id
  result[#result + 1], result[#result + 2] = backlog, tostring(old_rate)
end

local unreadable = unreadable_orders(diverts, lanes)
if unreadable then return redis.error_reply('UNREADABLE ' .. unreadable) end
local draining = {}
for _, lane in ipairs(lanes) do
  local orders = read_orders(diverts, lane.name)
  for _, order in ipairs(orders or {}) do
    if (only == '' or only == order.id) and not order.restoring and not order.limit then
      drain(lane, orders, order)
    end
  end
  if orders then
    draining[lane.name] = orders
    ring(lane.bell, 8)
  end
end
if #result > 2 then result[1] = write_event(events, head, before, after) end
for name, orders in pairs(draining) do
  for identifier in pairs(before[name] and before[name].drains or {}) do
    local order = find_order(orders, identifier)
    if order.drain then order.drain.event = result[1] end
  end
  write_orders(diverts, name, orders)
end
if #finished > 0 then end_empty_orders(events, diverts, finished, by, why) end
return remember(operation, step, result)
