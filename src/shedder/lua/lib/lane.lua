-- A lane is read as `kept`, then `parked`, then the RQ list. `kept` holds the front of the lane while
-- a scan or a restore goes through it; `parked` what a pause took out of the reach of stock workers.

-- Says that somebody is at work on a lane, so that nobody finishes it for them.
local AT_WORK_MS = 3000

local function note_work(at_work)
  redis.call('SET', at_work, '1', 'PX', AT_WORK_MS)
end

local function waiting_in(lane)
  return redis.call('LLEN', lane.kept) + redis.call('LLEN', lane.parked) + redis.call('LLEN', lane.list)
end

-- An error undoes nothing of what a script has done: a key that somebody made something else must be
-- met before the first change.
local function check_types(events, lanes)
  redis.call('XLEN', events)
  for _, lane in ipairs(lanes) do waiting_in(lane) end
end

-- the first id of a lane, and the list from which it came
local function pop(lane)
  for _, source in ipairs({lane.kept, lane.parked, lane.list}) do
    local id = redis.call('LPOP', source)
    if id then return id, source end
  end
  return nil
end

local function put_front(lane, pauses, id)
  if redis.call('EXISTS', lane.kept) == 1 then
    redis.call('LPUSH', lane.kept, id)
  elseif redis.call('EXISTS', lane.parked) == 1 or is_parked(pauses, lane.name) then
    redis.call('LPUSH', lane.parked, id)
  else
    redis.call('LPUSH', lane.list, id)
  end
end

local function push_all(key, ids)
  for first = 1, #ids, 1000 do
    redis.call('RPUSH', key, unpack(ids, first, math.min(first + 999, #ids)))
  end
end

-- Makes two lists one, under the name of the second, without changing the reading order and moving
-- the shorter side. Returns how many ids there are still to move. What stands behind comes to the
-- front all at once or not at all: a scan, which may be under way, takes what is in front for seen.
local function join(front, back, limit)
  local ahead = redis.call('LLEN', front)
  if ahead == 0 then return 0 end
  local behind = redis.call('LLEN', back)
  if behind < ahead and behind <= limit then
    for _ = 1, behind do redis.call('LMOVE', back, front, 'LEFT', 'RIGHT') end
    redis.call('RENAME', front, back)
    return 0
  end
  local moved = math.min(ahead, limit)
  for _ = 1, moved do redis.call('LMOVE', front, back, 'RIGHT', 'LEFT') end
  return ahead - moved
end

-- Brings `kept` and `parked` back into the list, or `kept` into `parked` where the lane is parked.
local function fold(lane, parked, limit)
  if parked then return join(lane.kept, lane.parked, limit) end
  local left = join(lane.parked, lane.list, limit)
  if left > 0 then return left + redis.call('LLEN', lane.kept) end
  return join(lane.kept, lane.list, limit)
end
