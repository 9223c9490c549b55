#!lua flags=allow-oom
-- Claim the next job that may run, for one worker: decision and pop in one step.
--
-- Lanes are tried in the order given. A paused lane is skipped. In a diverted lane, what matches
-- goes to the backlog; a draining backlog is served in its lane's place, oldest first, as fast as
-- its bucket allows. Claims without a sign of life for a lease go back to the front first.
--
-- The keys of a lane are made of its name here, since a worker may serve hundreds.
--
-- KEYS
--   claims     sorted set: claim -> ms of its last sign of life
--   pauses     hash: lane -> pause
--   diverts    hash: lane -> orders
--   meters     hash: counters
--   events     stream: journal
--   suspended  string: exists while RQ itself is suspended
--   sampled    string: exists while the last sample of lanes is fresh
--   policy     hash: the policy in force
--   lookout    string: the worker that looks at these lanes for those that rest; expires
--   relief     list: calls the next to the lookout
--   then for each queue: bell
-- ARGV
--   worker             name of the worker
--   lease              ms after which a claim without a sign of life is taken back
--   limit              jobs that this call may look at in all
--   most               lanes with an order at work that this call may look into
--   on_lookout         ms for which an idle worker goes on lookout, 0 when it will not wait, -1 when it asks for more lanes
--   known_policy       number of the policy that the order of the lanes is from, '' for any
--   job_prefix, executions_prefix, limit_prefix, list_prefix   RQ's key prefixes
--   prefix             of shedder's own keys
--   still              how many of the bells, from the first on, are of queues all of whose lanes are here
--   bell_numbers       for each lane four digits: which bell is that of its queue
--   then for each lane: its name
-- RETURNS
--   {'claimed', number of the lane, claim, id of the job, 1 when a divert could not be decided here, hash of the job as a flat list, set of what runs under a limit or '', the drain that released it or ''}
--   {'empty', ms after which a drain has its next token, 0 when none waits for one, 1 when the upkeep is due, 'lookout', 'rest' or 'wait'}
--   {'again', number of the lane to go on with, ms as above}   a limit was reached, there may be more
--   {'suspended'}  RQ's own suspend is on
--   {'outdated'}   another policy is in force than the caller knows
-- include lib/clock.lua
-- include lib/count.lua
-- include lib/lanes.lua
-- include lib/token.lua
-- include lib/lease.lua
-- include lib/lookout.lua
local claims, pauses, diverts, meters, events, suspended, sampled, policy, lookout, relief =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local worker, lease, limit, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local on_lookout, known_policy = tonumber(ARGV[5]), tonumber(ARGV[6])
local rq = {
  job_prefix = ARGV[7], executions_prefix = ARGV[8], limit_prefix = ARGV[9], list_prefix = ARGV[10],
}
local prefix, still, bell_numbers = ARGV[11], tonumber(ARGV[12]), ARGV[13]
local names, bells = {unpack(ARGV, 14)}, {unpack(KEYS, 11)}
local kept_prefix, parked_prefix = prefix .. 'kept:', prefix .. 'parked:'

local known = {}
local function lane_at(index)
  local lane = known[index]
  if lane then return lane end
  local name = names[index]
  lane = {
    name = name, list = rq.list_prefix .. name, kept = kept_prefix .. name, parked = parked_prefix .. name,
    bell = bells[tonumber(string.sub(bell_numbers, 4 * index - 3, 4 * index))],
  }
  known[index] = lane
  return lane
end

-- Asked here, since a worker that asks by itself asks between the bell and the job.
if known_policy then
  local is_readable, number = pcall(redis.call, 'HGET', policy, 'number')
  if is_readable and (tonumber(number or 0) or known_policy) ~= known_policy then
    return {'outdated'}
  end
end

local now = now_precise()
local function fronts()
  local keys = {}
  for index, name in ipairs(names) do
    keys[2 * index - 1], keys[2 * index] = kept_prefix .. name, parked_prefix .. name
  end
  return keys
end

local note_start -- in the account of a limit

-- by the id of the divert and when the drain began: what ends later counts for no other drain
local function drain_of(order)
  if not order or order.limit then return '' end
  return order.id .. ' ' .. string.format('%.0f', order.drain and order.drain.since or 0)
end

local function claim(index, lane, id, order, undecided, flat, fields)
  local number = count(meters, 'claims', 1)
  local member = pack_claim(worker, lane, id, math.floor(now), order and order.id or '', number)
  if order then note_start(order, member, fields) end
  redis.call('ZADD', claims, now, member)
  -- one push of a producer that rings no bell may have been many jobs: wake the next worker
  if redis.call('EXISTS', lane.list) == 1 and redis.call('EXISTS', lane.bell) == 0 then
    ring(lane.bell, 1)
  end
  pcall(leave_lookout, lookout, relief, worker)
  return {'claimed', index, member, id, undecided and 1 or 0, flat, order and order.running or '',
    drain_of(order)}
end

local function what_to_do_meanwhile()
  if on_lookout < 0 then return 'wait' end
  local answer = on_lookout > 0 and share_lookout or end_lookout
  local done, deed = pcall(answer, lookout, relief, worker, on_lookout)
  return done and deed or 'wait'
end

-- Nothing may be claimed here, so that what still rings would only wake somebody in vain. Whatever comes
-- rings anew.
local function nothing(wait)
  if still > 0 then pcall(redis.call, 'DEL', unpack(bells, 1, still)) end
  return {'empty', wait, is_held(sampled) and 0 or 1, what_to_do_meanwhile()}
end

local function read_job(id)
  local is_hash, flat = pcall(redis.call, 'HGETALL', rq.job_prefix .. id)
  if not is_hash then flat = {} end
  local fields = {}
  for index = 1, #flat, 2 do fields[flat[index]] = flat[index + 1] end
  return flat, fields
end

-- An error undoes nothing of what was done: an id in hand goes back before the caller learns of it.
local function or_put_back(source, id, act)
  local done, result = pcall(act, id)
  if done then return result end
  redis.call('LPUSH', source, id)
  return error(result)
end

-- the first id of all lists, and the number of its lane
local function pop_first()
  local question = {'LMPOP', #names}
  for index, name in ipairs(names) do question[index + 2] = rq.list_prefix .. name end
  question[#question + 1] = 'LEFT'
  local found = redis.call(unpack(question))
  if not found then return nil end
  local index = 1
  while question[index + 2] ~= found[1] do index = index + 1 end
  return found[2][1], index
end

-- The everyday case by itself. What only an incident needs is defined behind it: a script that runs
-- once in a while is slow for each function that it makes.
local function everyday_claim()
  if redis.call('EXISTS', suspended, pauses, diverts, unpack(fronts())) > 0 then return nil end
  if redis.call('ZCOUNT', claims, '-inf', now - lease) > 0 then return nil end
  local id, index = pop_first()
  if not id then return nothing(0) end
  local lane = lane_at(index)
  local flat, fields = read_job(id)
  if fields.data and fields.status == 'queued' and not fields.rate_limit_key then
    return or_put_back(lane.list, id, function() return claim(index, lane, id, nil, nil, flat) end)
  end
  redis.call('LPUSH', lane.list, id)
  return nil
end

local everyday = everyday_claim()
if everyday then return everyday end
-- include lib/journal.lua
-- include lib/controls.lua
-- include lib/expiry.lua
-- include lib/lane.lua
-- include lib/claim.lua
-- include lib/slot.lua
-- include lib/selection.lua
-- include lib/job.lua
-- include lib/fields.lua
-- include lib/run.lua
-- include lib/drain.lua
-- include lib/stale.lua
-- include lib/unseen.lua
note_start = function(order, member, fields) note_running(order, member, now, fields.timeout) end

local looked_at = 0
local wait = 0
local plain -- no lane has anything in front of its list

local function take_back(member)
  if give_back(claims, pauses, diverts, member) then
    note_crash(rq, unpack_claim(member).id)
    count(meters, 'claims:taken_back', 1)
  end
end

-- One that cannot be given back now, or not be read, stays for a later lease: it must stop nobody.
local function take_back_stale()
  local stale = redis.call('ZRANGEBYSCORE', claims, '-inf', now - lease, 'LIMIT', 0, 10)
  for _, member in ipairs(stale) do
    if not pcall(take_back, member) then redis.call('ZADD', claims, 'XX', now, member) end
  end
end

local function drop(lane, id, cause)
  if cause == 'gone' then set_aside_unseen(prefix .. 'unseen:' .. lane.name, id) end
  count(meters, lane.name .. ':dropped:' .. cause, 1)
end

-- why a job cannot run, or nil
local function obstacle(id, flat, fields)
  if #flat == 0 or not fields.data then return 'gone' end
  if not is_runnable(rq, id, fields.status) then return fields.status end
  return nil
end

-- A backlog on the way back is a part of its lane: behind what was merged, before all else.
local function pop_restoring(lane, orders)
  local sources = {lane.kept}
  for _, order in ipairs(orders) do
    if order.restoring then sources[#sources + 1], sources[#sources + 2] = order.front, order.rest end
  end
  for _, source in ipairs(sources) do
    local id = redis.call('LPOP', source)
    if id then return id, source end
  end
  return pop(lane)
end

local function from_lane(index, lane, orders)
  local pop_next = orders and restoring_order(orders) and pop_restoring or pop
  local begins_run

  local function place(id)
    local flat, fields = read_job(id)
    local cause = obstacle(id, flat, fields)
    if cause then return drop(lane, id, cause) end
    local name = function_of(fields.shedder, fields.created_at)
    local order, undecided
    if orders then order, undecided = order_for(orders, name, nil, age_ms(fields.enqueued_at, now)) end
    if order then
      free_slot(rq, now, id, fields.rate_limit_key, fields.rate_limit_concurrency)
      redis.call('RPUSH', order.rest, id)
      begins_run = is_plain(name, fields.status, fields.rate_limit_key)
    elseif take_slot(rq, now, id, fields.rate_limit_key, fields.rate_limit_concurrency) then
      return claim(index, lane, id, nil, undecided, flat)
    else
      wait_for_slot(rq, now, id, fields.rate_limit_key)
    end
    return nil
  end

  while looked_at < limit do
    local id, source
    if plain and pop_next == pop then
      id, source = redis.call('LPOP', lane.list), lane.list
    else
      id, source = pop_next(lane, orders)
    end
    if not id then return nil end
    looked_at, begins_run = looked_at + 1, false
    local claimed = or_put_back(source, id, place)
    if claimed then return claimed end
    if begins_run and source == lane.list then
      looked_at = looked_at + divert_run(rq, source, orders, now, limit - looked_at)
    end
  end
  return {'again', 1, wait}
end

-- Everything that still arrives in a lane whose whole is diverted goes behind its backlog.
local function sweep(lane, order)
  for _, source in ipairs({lane.kept, lane.parked, lane.list}) do
    if looked_at < limit and redis.call('EXISTS', source) == 1 and redis.call('EXISTS', order.rest) == 0 then
      redis.call('RENAME', source, order.rest)
    end
    while looked_at < limit and redis.call('LMOVE', source, order.rest, 'LEFT', 'RIGHT') do
      looked_at = looked_at + 1
    end
  end
end

-- A drained job that holds no slot of RQ's rate limit stands aside until one is free.
local function from_slot_waiters(order)
  for _, id in ipairs(redis.call('LRANGE', order.slot, 0, 9)) do
    local fields = redis.call('HMGET', rq.job_prefix .. id, 'status', 'data', 'rate_limit_key',
      'rate_limit_concurrency')
    -- one that cannot run takes no slot: nobody would give it back
    local is_over = not fields[2] or not is_runnable(rq, id, fields[1])
    if is_over or take_slot(rq, now, id, fields[3], fields[4]) then
      redis.call('LREM', order.slot, 1, id)
      return id
    end
  end
  return nil
end

local SLOT_WAITERS = 100

local function next_of_backlog(order)
  local waiter = from_slot_waiters(order)
  if waiter then return waiter end
  if redis.call('LLEN', order.slot) >= SLOT_WAITERS then return nil end
  return redis.call('LPOP', order.front) or redis.call('LPOP', order.rest)
end

-- The divert that takes a job which a limit would let start.
local function divert_before(order, orders, fields)
  if not order.limit then return nil, false end
  return order_for(diverts_of(orders), function_of(fields.shedder, fields.created_at), nil,
    age_ms(fields.enqueued_at, now))
end

local function tell_aside(lane, order, aside)
  aside.count = note_stale(events, lane.name, order, aside.list, aside.count)
end

local function take_from_backlog(index, lane, orders, order, aside)
  if is_full(order, now) then return nil end
  local tokens = settle(order, now)
  if tokens < 1 then
    if backlog_length(order) > 0 or not order.drain.stay then
      local next_token = math.ceil((1 - tokens) / order.drain.rate)
      if wait == 0 or next_token < wait then wait = math.max(next_token, 1) end
    end
    return nil
  end
  local function place(id)
    local flat, fields = read_job(id)
    local cause = obstacle(id, flat, fields)
    local divert, undecided = divert_before(order, orders, fields)
    if cause then
      if cause == 'gone' then set_aside_unseen(prefix .. 'unseen:' .. lane.name, id) end
      note_skipped(order, id, cause)
    elseif not order.limit and is_stale(aside.limit, fields.enqueued_at, now) then
      free_slot(rq, now, id, fields.rate_limit_key, fields.rate_limit_concurrency)
      redis.call('RPUSH', aside.list, id)
      aside.count = aside.count + 1
    elseif divert then
      free_slot(rq, now, id, fields.rate_limit_key, fields.rate_limit_concurrency)
      redis.call('RPUSH', divert.rest, id)
    elseif not take_slot(rq, now, id, fields.rate_limit_key, fields.rate_limit_concurrency) then
      redis.call('RPUSH', order.slot, id)
    else
      store_tokens(order, tokens - 1, now)
      count(order.bucket, 'released', 1)
      if not order.limit then count(meters, lane.name .. ':drained', 1) end
      return claim(index, lane, id, order, undecided, flat, fields)
    end
    return nil
  end

  while looked_at < limit do
    local id = next_of_backlog(order)
    if not id then
      if backlog_length(order) == 0 and not order.drain.stay and not order.scanning then
        tell_aside(lane, order, aside)
        end_order(events, diverts, lane.name, orders, order, 'drained', now)
      end
      return nil
    end
    looked_at = looked_at + 1
    local claimed = or_put_back(order.front, id, place)
    if claimed then return claimed end
  end
  return {'again', 1, wait}
end

local function from_backlog(index, lane, orders, order)
  local aside = {list = prefix .. 'stale:' .. lane.name, count = 0, limit = stale_limit(policy)}
  local done, result = pcall(take_from_backlog, index, lane, orders, order, aside)
  tell_aside(lane, order, aside)
  if not done then return error(result) end
  return result
end

-- A limit whose time is over takes nothing more, and its jobs go back, oldest first.
local function end_expired_limits(lane, orders)
  local is_changed = false
  for _, order in ipairs(orders) do
    if order['until'] and now >= order['until'] and not order.restoring then
      order.restoring, order.scanning, order.drain, is_changed = true, nil, nil, true
    end
  end
  if is_changed then write_orders(diverts, lane.name, orders) end
end

local function from_controlled_lane(index, lane, orders)
  end_expired_limits(lane, orders)
  local whole = whole_order(orders)
  if whole then sweep(lane, whole) end
  if looked_at >= limit then return {'again', 1, wait} end
  local stopping = whole_order(diverts_of(orders))
  local is_stopped = stopping and not stopping.drain
  -- a copy, because an order that ends leaves the list
  local standing = {unpack(orders)}
  for _, order in ipairs(standing) do
    if order.drain and not (order.limit and is_stopped) then
      local result = from_backlog(index, lane, orders, order)
      if result then return result end
    end
  end
  if whole then return nil end
  return from_lane(index, lane, #orders > 0 and orders or nil)
end

take_back_stale()
plain = redis.call('EXISTS', unpack(fronts())) == 0
if redis.call('EXISTS', suspended) == 1 then return {'suspended'} end

local function fields_at(key)
  return redis.call('EXISTS', key) == 1 and redis.call('HMGET', key, unpack(names)) or {}
end
local paused, ordered = fields_at(pauses), fields_at(diverts)

-- Most lanes hold nothing at most times: several are asked about at once.
local MOST_AT_ONCE = 32
local empty_until, at_once = 0, 1

local function lists_of(first, last)
  local keys = {}
  for index = first, last do
    local name = names[index]
    keys[#keys + 1] = rq.list_prefix .. name
    if not plain then keys[#keys + 1], keys[#keys + 2] = kept_prefix .. name, parked_prefix .. name end
  end
  return keys
end

local function has_jobs(index)
  if index <= empty_until then return false end
  local last = math.min(index + at_once - 1, #names)
  if redis.call('EXISTS', unpack(lists_of(index, last))) == 0 then
    empty_until, at_once = last, math.min(2 * at_once, MOST_AT_ONCE)
    return false
  end
  if last == index then return true end
  at_once = 1
  return has_jobs(index)
end

-- An order that neither drains nor comes to an end has nothing to do where no job is.
local function is_at_work(text)
  return string.find(text, 'drain"', 1, true) or string.find(text, 'restoring"', 1, true)
    or string.find(text, 'until"', 1, true)
end

local looked_into = 0

for index, name in ipairs(names) do
  if not pause_in_force(paused[index], now) then
    if paused[index] then end_expired_pause(pauses, events, name, paused[index]) end
    local result
    if ordered[index] and (is_at_work(ordered[index]) or has_jobs(index)) then
      if looked_into == most then return {'again', index, wait} end
      looked_into = looked_into + 1
      local orders = decode_orders(ordered[index])
      if orders then result = from_controlled_lane(index, lane_at(index), orders) end
      empty_until = index -- a slot that it gave back may have brought a job of another lane
    elseif not ordered[index] and has_jobs(index) then
      result = from_lane(index, lane_at(index), nil)
      empty_until = index
    end
    if result then return result end
  end
end

return nothing(wait)
