#!lua flags=allow-oom
-- Write or end an operator's settings of flags or of limits, and tell every process.
--
-- KEYS
--   settings           hash: name -> setting
--   version            string: grows with each change
--   events, operation  see docs/reference/keys.md
-- ARGV
--   step      of the operation
--   head      JSON: what the event says
--   channel   where the change is told
--   then for each setting: its name, JSON of what it says or '' to end it, ms until it ends by itself or 0
-- RETURNS
--   {event or '' when there was nothing to end, ms of the server's clock, then for each name: setting that was replaced or ''}
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/controls.lua
local settings, version, events, operation = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local step, head, channel = ARGV[1], ARGV[2], ARGV[3]
local changes = {unpack(ARGV, 4)}

local replayed = recall(operation, step)
if replayed then return replayed end
local now = now_ms()
redis.call('XLEN', events) -- fails before the first change where a key is of another type
local before, after, result, written, is_changed = {}, {}, {'', now}, {}, false

local function set(name, body, duration)
  local setting = cjson.decode(body)
  setting.v, setting.since = RECORD_VERSION, now
  if duration > 0 then setting['until'] = now + duration end
  written[name], after[name] = setting, setting
end

for index = 1, #changes, 3 do
  local name, body, duration = changes[index], changes[index + 1], tonumber(changes[index + 2])
  local previous = redis.call('HGET', settings, name)
  local in_force = previous and pause_in_force(previous, now)
  if body ~= '' then
    set(name, body, duration)
  else
    redis.call('HDEL', settings, name)
    if in_force then after[name] = {cleared = true} end
  end
  if after[name] then
    is_changed = true
    before[name] = in_force and decode(previous) or {}
  end
  result[#result + 1] = in_force and previous or ''
end
if is_changed then
  -- one that is no number begins anew, where it never was
  if not pcall(redis.call, 'INCR', version) then redis.call('SET', version, now) end
  result[1] = write_event(events, head, before, after)
  for name, setting in pairs(written) do
    setting.event = result[1]
    redis.call('HSET', settings, name, cjson.encode(setting))
  end
  redis.call('PUBLISH', channel, result[1])
end
return remember(operation, step, result)
