#!lua flags=allow-oom
-- Write the record of an incident and the event that says what was changed, unless somebody was faster.
--
-- KEYS
--   incident           string: the record, JSON
--   incidents          sorted set: id -> when it was opened (ms)
--   open               set: ids of incidents that are not resolved
--   events, operation  see docs/reference/keys.md
-- ARGV
--   step                 of the operation
--   head, before, after  JSON: what the event says
--   id                   of the incident
--   seen                 SHA-1 of the record that this change was made of, or '' for a new one
--   record               the record as it shall be, JSON; the character 1 in it and in the event stands for the time (ms)
--   opened               ms when it was opened, 0 for now
--   is_open              1 when it is not resolved after this
--   is_alone             1 when there must be no other open one
-- RETURNS
--   'done', ms of the server's clock, event, record as it was written
--   'stale', ms of the server's clock: the record is not what was seen
--   'other', ms of the server's clock, id of another open incident
-- include lib/clock.lua
-- include lib/journal.lua
-- include lib/operation.lua
local incident, incidents, open, events, operation = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local step, head, before, after, id = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local seen, record, opened = ARGV[6], ARGV[7], tonumber(ARGV[8])
local is_open, is_alone = ARGV[9] == '1', ARGV[10] == '1'

local replayed = recall(operation, step)
if replayed then return replayed end
local now = now_ms()

local function other_open()
  -- two at most: one other is enough to say no
  for _, each in ipairs(redis.call('SRANDMEMBER', open, 2)) do
    if each ~= id then return each end
  end
  return nil
end

local function stamped(text)
  return (string.gsub(text, '\1', string.format('%.0f', now)))
end

local standing = redis.call('GET', incident)
if (standing and redis.sha1hex(standing) or '') ~= seen then return {'stale', now} end
local other = is_alone and other_open()
if other then return {'other', now, other} end
-- before the first write: a key of another type undoes nothing
redis.call('ZCARD', incidents)
redis.call('XLEN', events)

record = stamped(record)
redis.call('SET', incident, record)
redis.call('ZADD', incidents, opened > 0 and opened or now, id)
redis.call(is_open and 'SADD' or 'SREM', open, id)
local event = append_event(events, head, stamped(before), stamped(after))
return remember(operation, step, {'done', now, event, record})
