-- What a job's hash says.

-- In these states RQ has the job elsewhere, or is done with it: an id in a list is left over.
local NOT_WAITING = {
  finished = true, failed = true, stopped = true, canceled = true, deferred = true,
  scheduled = true, rate_limited = true, ready_to_enqueue = true,
}

-- `started` may be a job whose worker died, or an id that stands in two lists: its live executions
-- tell. A status that RQ does not know is the worker's to report.
local function is_runnable(rq, id, status)
  if NOT_WAITING[status or ''] then return false end
  return status ~= 'started' or redis.call('EXISTS', rq.executions_prefix .. id) == 0
end

-- The field `shedder` is '<created_at> <function>'. It counts only while created_at is the same:
-- another producer may have written a new job under an old id.
local function function_of(note, created_at)
  -- `find`, because a `sub` to compare with would be one more text for each job of a scan
  if not note or not created_at or string.find(note, created_at, 1, true) ~= 1 then return nil end
  if string.byte(note, #created_at + 1) ~= 32 or #note < #created_at + 2 then return nil end
  return string.sub(note, #created_at + 2)
end

local function age_ms(enqueued_at, now)
  local since = iso_to_ms(enqueued_at)
  return since and now - since or 0
end

-- The first order that takes this job: order, or nil and whether a match could not be decided.
local function order_for(orders, name, meta, age)
  local undecided = false
  for _, order in ipairs(orders) do
    if not order.restoring then
      local match = order.whole and 1 or matches_selection(order.select, name, meta, age)
      if match == 1 then return order, false end
      if match == -1 then undecided = true end
    end
  end
  return nil, undecided
end

-- A job may kill every worker that so much as imports it. The count lets a worker start it first.
local function note_crash(rq, id)
  if redis.call('EXISTS', rq.job_prefix .. id) == 1 then
    pcall(redis.call, 'HINCRBY', rq.job_prefix .. id, 'shedder_crashes', 1)
  end
end
