-- Some fields of all jobs in a part of a list: a flat array of id, field, field, ... for each job, in
-- order; false stands for what is missing. One command for all of them takes two thirds of the time
-- of one for each. Where the server refuses that (Redis Cluster, an account that may not read every
-- key), and where it would misread the prefix, it is one for each.

local function read_one_by_one(source, first, count, job_prefix, names)
  local flat = {}
  for _, id in ipairs(redis.call('LRANGE', source, first, first + count - 1)) do
    local values = redis.pcall('HMGET', job_prefix .. id, unpack(names))
    flat[#flat + 1] = id
    for index = 1, #names do flat[#flat + 1] = values[index] or false end
  end
  return flat
end

local function read_fields(source, first, count, job_prefix, names)
  if string.find(job_prefix, '*', 1, true) then
    return read_one_by_one(source, first, count, job_prefix, names)
  end
  local patterns = {'GET', '#'}
  for _, name in ipairs(names) do
    patterns[#patterns + 1], patterns[#patterns + 2] = 'GET', job_prefix .. '*->' .. name
  end
  local flat = redis.pcall('SORT_RO', source, 'BY', 'nosort', 'LIMIT', first, count, unpack(patterns))
  if flat.err then return read_one_by_one(source, first, count, job_prefix, names) end
  return flat
end
