-- Ids under which no job was seen. Most are of jobs that have expired. But a job may have a key that
-- is not known here, as those of a job class with a prefix of its own have: its id must not be lost.

local UNSEEN_IDS = 100000

local function set_aside_unseen(unseen, id)
  redis.call('RPUSH', unseen, id)
  redis.call('LTRIM', unseen, -UNSEEN_IDS, -1)
end
