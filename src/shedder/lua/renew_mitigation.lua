#!lua flags=allow-oom
-- Say that the process of a deed outside Redis is alive.
--
-- KEYS
--   mitigations  hash: event of the beginning -> ms until when its process is thought alive, and its unseen end
-- ARGV
--   event   of its beginning
--   end     JSON: what the event of an end says that nobody has seen
--   length  ms for which its process is thought alive without another sign of life
-- RETURNS
--   1, or 0 when its end was written down already
-- include lib/clock.lua
local mitigations = KEYS[1]
local event, unseen_end, length = ARGV[1], ARGV[2], tonumber(ARGV[3])

if redis.call('HEXISTS', mitigations, event) == 0 then return 0 end
redis.call('HSET', mitigations, event, string.format('%.0f %s', now_ms() + length, unseen_end))
return 1
