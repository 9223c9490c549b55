#!lua flags=allow-oom
-- Keep the secret of the control room, with which all processes sign; of two, the first one's.
--
-- KEYS
--   secret  string: the secret
-- ARGV
--   made    a secret that the caller has made, for the case that there is none
-- RETURNS
--   the secret that is kept
local secret, made = KEYS[1], ARGV[1]

redis.call('SET', secret, made, 'NX')
return redis.call('GET', secret)
