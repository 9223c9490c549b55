#!lua flags=allow-oom
-- Put a policy into force, unless it is based on another one than the one in force.
--
-- KEYS
--   policy             hash: 'number' and 'current' record, number -> record, 'stale_after' in ms
--   events, operation  see docs/reference/keys.md
-- ARGV
--   step         of the operation
--   head         JSON: what the event says
--   by, why      who applies it, and for which reason
--   document     JSON: the policy as a document
--   based_on     number of the policy that the caller has seen, '' to apply it all the same
--   stale_after  ms after which a job of a backlog is set aside, 0 for never
--   kept         how many policies are kept for an undo
--   restores     number of the policy that an undo brings back, '' when it is none
-- RETURNS
--   {'applied', event, ms of the server's clock, number, record that was in force or ''}
--   {'same', '', ms, number, record}      it is in force already
--   {'refused', '', ms, number, record}   another one is in force than the one that it is based on
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
local policy, events, operation = KEYS[1], KEYS[2], KEYS[3]
local step, head, by, why, document, based_on = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local stale_after, kept, restores = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])

local replayed = recall(operation, step)
if replayed then return replayed end
local now = now_ms()
redis.call('XLEN', events)
local number = tonumber(redis.call('HGET', policy, 'number')) or 0
local current = redis.call('HGET', policy, tostring(number)) or ''

-- A policy that an undo brought back has a number of its own, and is the one of its first number still.
local function first_number(of)
  local ok, record = pcall(cjson.decode, redis.call('HGET', policy, tostring(of)) or '')
  return ok and type(record) == 'table' and record.restores or of
end

local function is_based_on(seen)
  return seen == number or restores and first_number(seen) == first_number(number)
end

if based_on ~= '' and not is_based_on(tonumber(based_on)) then
  return remember(operation, step, {'refused', '', now, number, current})
end
local readable, record = pcall(cjson.decode, current)
if readable and type(record) == 'table' and record.document == document then
  return remember(operation, step, {'same', '', now, number, current})
end

local next_number = number + 1
local applied = {v = 1, number = next_number, by = by, why = why, since = now, document = document,
  restores = restores and first_number(restores)}
local text = cjson.encode(applied)
redis.call('HSET', policy, 'number', next_number, next_number, text, 'current', text)
if stale_after > 0 then
  redis.call('HSET', policy, 'stale_after', stale_after)
else
  redis.call('HDEL', policy, 'stale_after')
end
redis.call('HDEL', policy, tostring(next_number - kept))
local event = write_event(events, head, {number = number}, {number = next_number})
return remember(operation, step, {'applied', event, now, next_number, current})
