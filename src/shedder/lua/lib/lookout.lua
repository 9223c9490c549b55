-- One idle worker of the same lanes looks for what rang no bell, and the others rest. A lookout that is
-- damaged is worth no job: who calls these must catch their errors.

-- Those that rest ask by themselves before this is over.
local RELIEF_MS = 10000

-- The worker that looks now has other things to do: the next is called.
local function leave_lookout(lookout, relief, worker)
  local holder = redis.call('GET', lookout)
  if holder and holder ~= worker then return end
  if holder then redis.call('DEL', lookout) end
  if redis.call('EXISTS', relief) == 1 then return end
  redis.call('RPUSH', relief, '1')
  redis.call('PEXPIRE', relief, RELIEF_MS)
end

local function share_lookout(lookout, relief, worker, length)
  local holder = redis.call('GET', lookout)
  if holder and holder ~= worker and is_held(lookout) then return 'rest' end
  redis.call('SET', lookout, worker, 'PX', length)
  if not holder then redis.call('DEL', relief) end
  return 'lookout'
end

local function end_lookout(lookout, _, worker)
  if redis.call('GET', lookout) == worker then redis.call('DEL', lookout) end
  return 'wait'
end
