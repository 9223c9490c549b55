-- Lanes as scripts are told of them, and the bell of each. Needed also where nothing stands in the way.

local BELL_LENGTH = 64

-- lanes from a script's keys: `width` keys each (list, kept, parked, bell, ...), and one name each
local function lanes_from(keys, first_key, argv, first_name, width)
  local lanes = {}
  for index = 1, #argv - first_name + 1 do
    local key = first_key + width * (index - 1)
    lanes[index] = {
      name = argv[first_name + index - 1],
      list = keys[key], kept = keys[key + 1], parked = keys[key + 2], bell = keys[key + 3],
      more = {unpack(keys, key + 4, key + width - 1)},
    }
  end
  return lanes
end

-- A bell is worth no error in the middle of a change: one that somebody made something else goes, and
-- what an account may not do to it is left.
local function ring(bell, times)
  local length = redis.pcall('LLEN', bell)
  if type(length) ~= 'number' then
    redis.pcall('DEL', bell)
    length = 0
  end
  for _ = 1, math.min(times, BELL_LENGTH - length) do redis.pcall('RPUSH', bell, '1') end
end
