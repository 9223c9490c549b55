#!lua flags=allow-oom
-- End an operator's settings of flags or of limits, and tell every process.
--
-- KEYS
--   settings           hash: name -> setting
--   version            string: grows with each change
--   events, operation  see docs/reference/keys.md
-- ARGV
--   step      of the operation
--   head      JSON: what the event says
--   channel   where the change is told
--   then the names
-- RETURNS
--   {event or '' when none was set, ms of the server's clock, then for each name: setting that ended or ''}
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
-- include lib/controls.lua
local settings, version, events, operation = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local step, head, channel = ARGV[1], ARGV[2], ARGV[3]
local names = {unpack(ARGV, 4)}

local replayed = recall(operation, step)
if replayed then return replayed end
local now = now_ms()
local before, after, result, ended = {}, {}, {'', now}, false

for _, name in ipairs(names) do
  local previous = redis.call('HGET', settings, name)
  local in_force = previous and pause_in_force(previous, now)
  redis.call('HDEL', settings, name)
  if in_force then
    ended = true
    before[name] = decode(previous) or {}
    after[name] = {cleared = true}
  end
  result[#result + 1] = in_force and previous or ''
end
if ended then
  redis.call('INCR', version)
  result[1] = write_event(events, head, before, after)
  redis.call('PUBLISH', channel, result[1])
end
return remember(operation, step, result)
