#!lua flags=allow-oom
-- Take a message that is to be sent, so that nobody else sends it too, or write down how that went.
--
-- A note is 'sent', or '<tries> <ms since when> <who>' while somebody tries or has failed.
--
-- KEYS
--   deliveries   hash: message -> its note
-- ARGV
--   mode     'take', 'sent' or 'failed'
--   message  which, and to which channel
--   who      takes it
--   patience  ms after which a message goes to another that somebody took and did not finish
--   pause     ms between two tries of one that failed, for each try before
--   most      tries, at most
--   expiry    seconds after which all is forgotten
-- RETURNS
--   of a take: {1 when it is the caller's now, else 0; tries before; 1 when one of them may have arrived}
--   else {1, 0, 0}
-- include lib/clock.lua
local deliveries = KEYS[1]
local mode, message, who = ARGV[1], ARGV[2], ARGV[3]
local patience, pause, most, expiry = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local now = now_ms()

local function keep(note)
  redis.call('HSET', deliveries, message, note)
  redis.call('EXPIRE', deliveries, expiry)
end

local note = redis.call('HGET', deliveries, message)
local tries, since, holder = string.match(note or '', '^(%d+) (%d+) ?(.*)$')
tries, since, holder = tonumber(tries) or 0, tonumber(since) or 0, holder or ''

if mode == 'sent' then
  keep('sent')
  return {1, 0, 0}
end
if mode == 'failed' then
  if note ~= 'sent' then keep(math.max(tries, 1) .. ' ' .. now) end
  return {1, 0, 0}
end
if note == 'sent' or (tries >= most and holder == '') then return {0, tries, 0} end
local is_waiting = holder == '' and now - since < pause * tries
local is_held = holder ~= '' and holder ~= who and now - since < patience
if is_waiting or is_held then return {0, tries, 0} end
keep((tries + 1) .. ' ' .. now .. ' ' .. who)
return {1, tries, (holder ~= '' and tries > 0) and 1 or 0}
