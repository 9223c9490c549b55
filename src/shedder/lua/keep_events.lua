#!lua flags=allow-oom
-- Keep copies of events beside the journal, under the ids that they had there.
--
-- KEYS
--   kept  stream: see docs/reference/keys.md
-- ARGV
--   for each event, in the order of their ids: id, head, before, after (JSON each)
-- RETURNS
--   how many were not kept before
local kept = KEYS[1]
local events = ARGV

local newest = redis.call('XREVRANGE', kept, '+', '-', 'COUNT', 1)
local last = newest[1] and newest[1][1] or '0-0'

-- ids are two numbers; as text, or as one number of Lua, they have another order
local function is_later(one, other)
  local one_ms, one_number = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_number = string.match(other, '^(%d+)-(%d+)$')
  one_ms, other_ms = tonumber(one_ms), tonumber(other_ms)
  if one_ms ~= other_ms then return one_ms > other_ms end
  return tonumber(one_number) > tonumber(other_number)
end

local added = 0
for at = 1, #events, 4 do
  local id = events[at]
  if is_later(id, last) then
    redis.call('XADD', kept, id, 'head', events[at + 1], 'before', events[at + 2],
      'after', events[at + 3])
    last, added = id, added + 1
  end
end
return added
