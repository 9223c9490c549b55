#!lua flags=allow-oom
-- Use a token of the control room, which is good for one act.
--
-- KEYS
--   token   string: by which call it was used; expires
-- ARGV
--   call    an id, so that a call that is sent again is no second use
--   length  ms after which the token is too old in any case
-- RETURNS
--   1 when this call has used it, else 0
local token = KEYS[1]
local call, length = ARGV[1], tonumber(ARGV[2])

if redis.call('SET', token, call, 'NX', 'PX', length) then return 1 end
return redis.call('GET', token) == call and 1 or 0
