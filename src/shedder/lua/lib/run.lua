-- The run of jobs at the front of a list that diverts take for certain. Such jobs are rarely alone, and
-- read together they cost a third of what each costs by itself. The run ends at a job that is not just
-- waiting, or of which anything else is to be asked: that one is judged by itself.

local FIRST_LOOK, LONGEST_LOOK = 2, 100

-- what takes a job: order, or nil; the same for all jobs of a function where nothing else counts
local function taker_of(orders, now)
  local by_name_only = true
  for _, order in ipairs(orders) do
    local select = type(order.select) == 'table' and order.select or {}
    if not is_by_name_only(select) then by_name_only = false end
  end
  local takers = {}
  return function(name, enqueued_at)
    local known = takers[name]
    if known ~= nil then return known end
    local order = order_for(orders, name, nil, by_name_only and 0 or age_ms(enqueued_at, now)) or false
    if by_name_only then takers[name] = order end
    return order
  end
end

local function move_run(source, runs, length)
  for order in pairs(runs) do redis.call('LLEN', order.rest) end -- fails before the first change
  for order, ids in pairs(runs) do push_all(order.rest, ids) end
  redis.call('LTRIM', source, length, -1)
end

-- whether a job is one that a run may hold
local function is_plain(name, status, rate_limit_key)
  return name and status == 'queued' and not rate_limit_key
end

-- how many of the first `count` jobs went
local function divert_look(rq, source, take, count)
  local jobs = read_fields(source, 0, count, rq.job_prefix,
    {'shedder', 'created_at', 'enqueued_at', 'status', 'rate_limit_key'})
  local runs, length = {}, 0
  for at = 1, #jobs, 6 do
    local name = function_of(jobs[at + 1], jobs[at + 2])
    local order = is_plain(name, jobs[at + 4], jobs[at + 5]) and take(name, jobs[at + 3])
    if not order then break end
    local ids = runs[order] or {}
    runs[order], ids[#ids + 1], length = ids, jobs[at], length + 1
  end
  if length > 0 then move_run(source, runs, length) end
  return length
end

-- how many were looked at, `limit` at most
local function divert_run(rq, source, orders, now, limit)
  local take, looked_at, look = taker_of(orders, now), 0, FIRST_LOOK
  while looked_at < limit do
    look = math.min(look, limit - looked_at)
    looked_at = looked_at + look
    if divert_look(rq, source, take, look) < look then break end
    look = math.min(2 * look, LONGEST_LOOK)
  end
  return looked_at
end
