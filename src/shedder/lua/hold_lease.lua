#!lua flags=allow-oom
-- Take or keep the lead, or give it up.
--
-- KEYS
--   lease   string: who leads; expires
-- ARGV
--   who     asks
--   length  ms for which the lead is kept, 0 to give it up
-- RETURNS
--   1 when the caller leads now, else 0
-- include lib/lease.lua
local lease = KEYS[1]
local who, length = ARGV[1], tonumber(ARGV[2])

local holder = redis.call('GET', lease)
if holder and holder ~= who and is_held(lease) then return 0 end
if length == 0 then
  redis.call('DEL', lease)
  return 0
end
redis.call('SET', lease, who, 'PX', length)
return 1
