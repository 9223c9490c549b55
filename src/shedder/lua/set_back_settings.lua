#!lua flags=allow-oom
-- Undo a change of flags or limits: write again what stood before, unless one was changed since.
--
-- KEYS
--   settings           hash: name -> setting
--   version            string: grows with each change
--   events, operation  see docs/reference/keys.md
-- ARGV
--   step      of the operation
--   head      JSON: what the event says when a setting stands again
--   cleared   JSON: what it says when none does
--   channel   where the change is told
--   then for each setting: its name, JSON of what must stand there now or '' for nothing, record that stood before or ''
-- RETURNS
--   {'done', event, ms of the server's clock, then for each name: setting that ended or ''}
--   {'changed', name}   somebody has changed it since
--   {'ended', name}     it was taken back, or has ended, since
--   {'over', name}      nothing stands, and what stood before would have ended by now
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/controls.lua
local settings, version, events, operation = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local step, head, cleared, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ways = {unpack(ARGV, 5)}

local replayed = recall(operation, step)
if replayed then return replayed end
local now = now_ms()
redis.call('XLEN', events) -- fails before the first change where a key is of another type

local function standing(name)
  local text = redis.call('HGET', settings, name)
  return text and pause_in_force(text, now) and text or nil
end

-- One without an event is of a shedder that noted none: it is known by all that it says.
local function is_expected(text, expected)
  if not text or expected == '' then return not text and expected == '' end
  local setting, wants = decode(text), cjson.decode(expected)
  if not setting then return false end
  if setting.event then return setting.event == wants.event end
  wants.event = nil
  for name, value in pairs(wants) do
    if setting[name] ~= value then return false end
  end
  for name in pairs(setting) do
    if wants[name] == nil then return false end
  end
  return true
end

local over, stays = nil, true
for index = 1, #ways, 3 do
  local name, expected, wanted = ways[index], ways[index + 1], ways[index + 2]
  if not is_expected(standing(name), expected) then
    return remember(operation, step, {standing(name) and 'changed' or 'ended', name})
  end
  -- what would have ended by now is not written again: then nothing stands, as without the change
  if wanted ~= '' and not pause_in_force(wanted, now) then ways[index + 2], over = '', name end
  stays = stays and not standing(name) and ways[index + 2] == ''
end
if over and stays then return remember(operation, step, {'over', over}) end

local before, after, result, is_set = {}, {}, {'done', '', now}, false
for index = 1, #ways, 3 do
  local name, wanted = ways[index], ways[index + 2]
  local text = standing(name)
  if wanted ~= '' then
    redis.call('HSET', settings, name, wanted)
    after[name], is_set = decode(wanted), true
  else
    redis.call('HDEL', settings, name)
    after[name] = {cleared = true}
  end
  before[name] = text and decode(text) or {}
  result[#result + 1] = text or ''
end
-- one that is no number begins anew, where it never was
if not pcall(redis.call, 'INCR', version) then redis.call('SET', version, now) end
result[2] = write_event(events, is_set and head or cleared, before, after)
redis.call('PUBLISH', channel, result[2])
return remember(operation, step, result)
