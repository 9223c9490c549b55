-- Slots of RQ's own rate limit (rq/rate_limit.py): a job with a `rate_limit_key` may wait in a lane
-- or run only while it is in the sorted set `<prefix>rl:<key>:allowed`. A job that goes to a backlog
-- gives its slot back, so that its key is not blocked for as long as the backlog stands.

local function promote(rq, now, key, concurrency)
  local allowed = rq.limit_prefix .. key .. ':allowed'
  local waiting = rq.limit_prefix .. key .. ':rate_limited'
  for _ = 1, concurrency do
    if redis.call('ZCARD', allowed) >= concurrency then return end
    local first = redis.call('ZPOPMIN', waiting)
    if #first == 0 then return end
    local job = rq.job_prefix .. first[1]
    local fields = redis.call('HMGET', job, 'origin', 'status', 'enqueue_at_front')
    if fields[1] and fields[2] == 'rate_limited' then
      redis.call('ZADD', allowed, math.floor(now / 1000), first[1])
      redis.call('HSET', job, 'status', 'queued', 'enqueued_at', ms_to_iso(now))
      redis.call(fields[3] == '1' and 'LPUSH' or 'RPUSH', rq.list_prefix .. fields[1], first[1])
    end
  end
end

local function free_slot(rq, now, id, key, concurrency)
  if not key or key == '' then return end
  if redis.call('ZREM', rq.limit_prefix .. key .. ':allowed', id) == 1 then
    promote(rq, now, key, tonumber(concurrency) or 1)
  end
end

-- true when the job holds a slot now (or needs none)
local function take_slot(rq, now, id, key, concurrency)
  if not key or key == '' then return true end
  local allowed = rq.limit_prefix .. key .. ':allowed'
  if redis.call('ZSCORE', allowed, id) then return true end
  if redis.call('ZCARD', allowed) >= (tonumber(concurrency) or 1) then return false end
  redis.call('ZADD', allowed, math.floor(now / 1000), id)
  return true
end

-- Hands a job without a slot to RQ, which pushes it onto its queue when a slot is free.
local function wait_for_slot(rq, now, id, key)
  redis.call('ZADD', rq.limit_prefix .. key .. ':rate_limited', math.floor(now / 1000), id)
  redis.call('HSET', rq.job_prefix .. id, 'status', 'rate_limited')
end
