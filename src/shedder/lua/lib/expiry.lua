-- A pause whose time is over ends when somebody next touches its lane, and the journal says so.

local function end_expired_pause(pauses, events, lane, text)
  local pause = decode(text)
  redis.call('HDEL', pauses, lane)
  local head = {v = 1, verb = 'pause expired', lanes = {lane}, by = pause.by, why = pause.why}
  write_event(events, cjson.encode(head), {paused = true, since = pause.since}, {paused = false})
end
