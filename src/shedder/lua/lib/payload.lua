-- What a caller needs to judge a job that a script cannot.

local DATA_HEAD, META_LIMIT = 4096, 65536

-- The start of its data, its meta, '?' when that is long, and how many bytes were read: a caller stops
-- where they are many, since a hundred jobs of some megabytes would hold the server.
local function read_payload(key, needs_data, needs_meta)
  local data, meta = '', ''
  if needs_data then data = redis.call('HGET', key, 'data') or '' end
  if needs_meta then meta = redis.call('HGET', key, 'meta') or '' end
  return string.sub(data, 1, DATA_HEAD), #meta > META_LIMIT and '?' or meta, #data + #meta
end

local function has_data(key)
  return redis.pcall('HEXISTS', key, 'data') == 1
end
