-- The journal: every change of state writes one event in the same step.
-- An event is {head, before, after}: JSON each. `head` comes from the caller (verb, actor, reason,
-- targets); `before` and `after` are what this step saw and left. The stream's id is the time.

local JOURNAL_LENGTH = 100000

local function append_event(events, head, before, after)
  return redis.call('XADD', events, 'MAXLEN', '~', JOURNAL_LENGTH, '*', 'head', head,
    'before', before, 'after', after)
end

local function write_event(events, head, before, after)
  return append_event(events, head, cjson.encode(before), cjson.encode(after))
end
