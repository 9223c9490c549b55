-- A reply that was lost is no second order: the last step of an operation and its result are kept
-- for an hour, and a caller that repeats the step is told what happened the first time.

local OPERATION_TTL_MS = 3600000

local function recall(operation, step)
  local last = redis.call('HMGET', operation, 'step', 'result')
  if last[1] == step then return cmsgpack.unpack(last[2]) end
  return nil
end

local function remember(operation, step, result)
  redis.call('HSET', operation, 'step', step, 'result', cmsgpack.pack(result))
  redis.call('PEXPIRE', operation, OPERATION_TTL_MS)
  return result
end
