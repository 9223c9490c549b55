#!lua flags=allow-oom
-- Undo a pause or a resume: put each lane's own pause back, or end it, unless one was changed since.
--
-- KEYS
--   pauses, events, operation   see docs/reference/keys.md
--   then for each lane: list, kept, parked, bell
-- ARGV
--   step  of the operation
--   head  JSON: what the events say; of a lane that is paused again it is a pause, else a resume
--   then for each lane: its name, JSON of what must stand there now ('' for no pause): event, by, why, until; record that stood before or ''
-- RETURNS
--   {'done', resume's event or '', pause's event or '', ms of the server's clock, then for each lane: 'paused', 'resumed' or 'same', record that ended or '', jobs waiting, jobs that still stand in front of its list}
--   {'changed', lane, record in force or ''}   somebody has changed this lane since
--   {'over', '', ''}                           the pauses that stood before would have ended by now
--   {'same', '', ''}                           all lanes are already as they were
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/controls.lua
-- include lib/expiry.lua
-- include lib/lanes.lua
-- include lib/lane.lua
local pauses, events, operation = KEYS[1], KEYS[2], KEYS[3]
local step, head = ARGV[1], cjson.decode(ARGV[2])
local names, expected, wanted = {}, {}, {}
for index = 3, #ARGV, 3 do
  local name = ARGV[index]
  names[#names + 1] = name
  expected[name] = ARGV[index + 1] ~= '' and cjson.decode(ARGV[index + 1]) or nil
  wanted[name] = ARGV[index + 2] ~= '' and ARGV[index + 2] or nil
end
local lanes = lanes_from(KEYS, 4, names, 1, 4)

local replayed = recall(operation, step)
if replayed then return replayed end
check_types(events, lanes)
local now = now_ms()
local expires = false
for name, text in pairs(wanted) do
  if not pause_in_force(text, now) then wanted[name], expires = nil, true end
end

local function standing(lane)
  local text = redis.call('HGET', pauses, lane.name)
  return text and pause_in_force(text, now) and text or nil
end

-- One without an event is of a shedder that noted none: it is known by what it says.
local function is_expected(pause, wants)
  if not (pause and wants) then return not pause and not wants end
  if pause.event then return pause.event == wants.event end
  return pause.by == wants.by and pause.why == wants.why and pause['until'] == wants['until']
end

local function is_as_before(text, wants)
  if not (text and wants) then return not text and not wants end
  local pause, before = decode(text) or {}, decode(wants)
  return pause.event ~= nil and pause.event == before.event
end

local changes = {}
for _, lane in ipairs(lanes) do
  local text = standing(lane)
  if not is_as_before(text, wanted[lane.name]) then
    if not is_expected(text and (decode(text) or {}), expected[lane.name]) then
      return remember(operation, step, {'changed', lane.name, text or ''})
    end
    changes[lane.name] = true
  end
end
if not next(changes) then return remember(operation, step, {expires and 'over' or 'same', '', ''}) end

local told = {resume = {lanes = {}, before = {}, after = {}}, pause = {lanes = {}, before = {}, after = {}}}

-- What a pause keeps from stock workers is where it is, whichever pause stands.
local function write_again(lane, text, current)
  local record = decode(text)
  record.parked = current.parked
  redis.call('HSET', pauses, lane.name, cjson.encode(record))
  return record
end

local function set_back(lane)
  local text, stale = standing(lane), redis.call('HGET', pauses, lane.name)
  if stale and not text then end_expired_pause(pauses, events, lane.name, stale) end
  local current, record = text and decode(text) or {}, nil
  if wanted[lane.name] then record = write_again(lane, wanted[lane.name], current) end
  local waiting = waiting_in(lane)
  if not record then
    redis.call('HDEL', pauses, lane.name)
    fold(lane, false, 0)
    ring(lane.bell, waiting)
  end
  local said = told[record and 'pause' or 'resume']
  said.lanes[#said.lanes + 1] = lane.name
  said.before[lane.name] = pause_as_told(text, current, waiting)
  said.after[lane.name] = {paused = record ~= nil, ['until'] = record and record['until'],
    event = record and record.event, waiting = waiting}
  return record and 'paused' or 'resumed', text or '', waiting
end

local function tell(verb)
  local said = told[verb]
  if #said.lanes == 0 then return '' end
  head.verb, head.lanes = verb, said.lanes
  return write_event(events, cjson.encode(head), said.before, said.after)
end

local result = {'done', '', '', now}
for _, lane in ipairs(lanes) do
  local state, text, waiting = 'same', '', 0
  if changes[lane.name] then state, text, waiting = set_back(lane) end
  local front = redis.call('LLEN', lane.kept) + redis.call('LLEN', lane.parked)
  for _, each in ipairs({state, text, waiting, state == 'resumed' and front or 0}) do
    result[#result + 1] = each
  end
end
result[2], result[3] = tell('resume'), tell('pause')
return remember(operation, step, result)
