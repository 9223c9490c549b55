#!lua flags=allow-oom
-- Count how a job of a drained backlog ended, and halt its drain when too many of the last ones failed.
--
-- It goes out within a transaction of RQ: nothing that somebody has damaged may make it fail.
--
-- KEYS
--   diverts, events   see docs/reference/keys.md
-- ARGV
--   lane         the lane it came from
--   drain        id of the divert from whose backlog it came, and after a blank when the drain began (ms), if that is known
--   how          'add' one end to what is counted, or 'set' all of it
--   ends         a letter an end, the last one behind: 'w' it ended well, 'f' it failed
--   ends_prefix  what the key of a drain's last ends begins with
--   failed       with 'set': jobs of the lane that failed since the drain began
-- RETURNS
--   the event that says that the drain was halted, or '' when it goes on or there is none
-- include lib/clock.lua
-- include lib/count.lua
-- include lib/journal.lua
-- include lib/controls.lua
-- include lib/drain.lua
local diverts, events = KEYS[1], KEYS[2]
local lane, how, ends, ends_prefix = ARGV[1], ARGV[3], ARGV[4], ARGV[5]
local identifier, since = string.match(ARGV[2], '^(%S+) ?(%d*)$')
local failed_in_all = ARGV[6]

local LOOKS_BACK, LEAST = 50, 20
local KEPT_SECONDS = 86400

-- what somebody has damaged keeps nobody from looking at the last ends
local function count_failed(order)
  if how == 'set' then
    redis.pcall('HSET', order.bucket, 'failed', failed_in_all)
  elseif ends == 'f' then
    pcall(count, order.bucket, 'failed', 1)
  end
end

local function counted(event)
  local key = ends_prefix .. event
  local last = how == 'add' and redis.pcall('GET', key)
  local window = string.sub((type(last) == 'string' and last or '') .. ends, -LOOKS_BACK)
  redis.call('SET', key, window, 'EX', KEPT_SECONDS)
  local _, failed = string.gsub(window, 'f', '')
  return failed, #window
end

-- The orders of all lanes that one command has set to drain, and how the journal tells of them.
local function halt(event, halted)
  local before, after, names = {}, {}, {}
  local changed = {}
  local records = redis.call('HGETALL', diverts)
  for index = 1, #records, 2 do
    local name, orders = records[index], decode_orders(records[index + 1])
    for _, order in ipairs(orders or {}) do
      if order.drain and order.drain.event == event and not order.limit then
        if not before[name] then
          names[#names + 1], changed[name] = name, orders
          before[name], after[name] = {rate = 0, backlog = 0, drains = {}}, {rate = 0, backlog = 0}
        end
        local backlog = backlog_length(order)
        before[name].rate = math.max(before[name].rate, order.drain.rate * 1000)
        before[name].drains[order.id] = order.drain
        before[name].backlog, after[name].backlog = before[name].backlog + backlog, after[name].backlog + backlog
        add_counts(after[name], drain_counts(order))
        halted.rate, halted.by, halted.why = order.drain.rate, order.drain.by, order.drain.why
        order.halted, order.drain = halted, nil
      end
    end
  end
  local why = halted.failed .. ' of the last ' .. halted.ended .. ' jobs failed'
  local head = {v = 1, verb = 'drain halted', lanes = names, by = 'shedder', why = why, order = identifier,
    failed = halted.failed, ended = halted.ended, halt_at = halted.halt_at, drain = event}
  halted.event = write_event(events, cjson.encode(head), before, after)
  for name, orders in pairs(changed) do write_orders(diverts, name, orders) end
  return halted.event
end

local function count_end()
  local order = find_order(read_orders(diverts, lane) or {}, identifier)
  local drain = order and not order.limit and order.drain
  if not drain or (since ~= '' and tonumber(since) ~= drain.since) then return '' end
  count_failed(order)
  if not drain.event or not tonumber(drain.halt) then return '' end
  local failed, ended = counted(drain.event)
  if ended < LEAST or failed / ended < drain.halt then return '' end
  redis.call('XLEN', events) -- a key of another type is met before the first change
  return halt(drain.event, {since = now_ms(), failed = failed, ended = ended, halt_at = drain.halt,
    drain = drain.event})
end

local done, event = pcall(count_end)
return done and event or ''
