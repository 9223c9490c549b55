-- The journal: every change of state writes one event in the same step.
-- An event is {head, before, after}: JSON each. `head` comes from the caller (verb, actor, reason,
-- targets); `before` and `after` are what this step saw and left. The stream's id is the time.

local JOURNAL_LENGTH = 100000

-- How many events of each verb people and shedder itself have written, since the journal forgets.
local function count_event(events, head)
  local done, said = pcall(cjson.decode, head)
  if not done or type(said) ~= 'table' then return end
  local key = string.gsub(events, 'events$', 'event-counts')
  local by = said.by == 'shedder' and 'shedder' or 'person'
  pcall(redis.call, 'HINCRBY', key, tostring(said.verb) .. ':' .. by, 1)
end

local function append_event(events, head, before, after)
  count_event(events, head)
  return redis.call('XADD', events, 'MAXLEN', '~', JOURNAL_LENGTH, '*', 'head', head,
    'before', before, 'after', after)
end

local function write_event(events, head, before, after)
  return append_event(events, head, cjson.encode(before), cjson.encode(after))
end
