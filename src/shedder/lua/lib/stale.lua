-- Jobs of a backlog that are older than the policy allows are set aside, where they can be replayed.

-- ms after which a job is stale, nil for never: a policy that cannot be read sets nothing aside
local function stale_limit(policy)
  local readable, text = pcall(redis.call, 'HGET', policy, 'stale_after')
  return readable and tonumber(text or '') or nil
end

local function is_stale(limit, enqueued_at, now)
  local since = limit and iso_to_ms(enqueued_at)
  return since and now - since >= limit or false
end

-- One event for all that a step has set aside; the count that is left to tell.
local function note_stale(events, lane, order, stale, count)
  if count == 0 then return 0 end
  local head = {
    v = 1, verb = 'set aside', lanes = {lane}, by = 'shedder', order = order.id,
    why = 'older than the policy lets a job of a backlog be',
  }
  local left, aside = backlog_length(order), redis.call('LLEN', stale)
  write_event(events, cjson.encode(head), {[lane] = {backlog = left + count, stale = aside - count}},
    {[lane] = {backlog = left, stale = aside}})
  return 0
end
