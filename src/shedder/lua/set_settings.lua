#!lua flags=allow-oom
-- Write an operator's settings of flags or of limits, and tell every process.
--
-- KEYS
--   settings           hash: name -> setting
--   version            string: grows with each change
--   events, operation  see docs/reference/keys.md
-- ARGV
--   step      of the operation
--   head      JSON: what the event says
--   channel   where the change is told
--   duration  ms until the settings end by themselves, 0 for never
--   body      JSON: what the settings say
--   then the names
-- RETURNS
--   {event, ms of the server's clock, then for each name: setting that was replaced or ''}
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/controls.lua
local settings, version, events, operation = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local step, head, channel, duration, body = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local names = {unpack(ARGV, 6)}

local replayed = recall(operation, step)
if replayed then return replayed end
local now = now_ms()
local before, after, result = {}, {}, {'', now}

for _, name in ipairs(names) do
  local previous = redis.call('HGET', settings, name)
  local in_force = previous and pause_in_force(previous, now)
  local setting = cjson.decode(body)
  setting.v, setting.since = RECORD_VERSION, now
  if duration > 0 then setting['until'] = now + duration end
  redis.call('HSET', settings, name, cjson.encode(setting))
  before[name] = in_force and decode(previous) or {}
  after[name] = setting
  result[#result + 1] = in_force and previous or ''
end
redis.call('INCR', version)
result[1] = write_event(events, head, before, after)
redis.call('PUBLISH', channel, result[1])
return remember(operation, step, result)
