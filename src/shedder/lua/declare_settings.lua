#!lua flags=allow-oom
-- Note what the code of an application says of its flags or limits.
--
-- KEYS
--   declarations  hash: name -> declaration
-- ARGV
--   for each declaration: name, JSON
-- RETURNS
--   how many were not known before
local declarations = KEYS[1]
return redis.call('HSET', declarations, unpack(ARGV))
