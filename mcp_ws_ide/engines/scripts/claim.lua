-- Notes the fingerprint ARGV[3] of the keys that seal, unless sessions are stored under others; returns that which holds.
local key = prefix .. 'keys'
local held = redis.call('GET', key)
if held and held ~= ARGV[3] and redis.call('ZCARD', prefix .. 'sessions') > 0 then return held end
redis.call('SET', key, ARGV[3])
return ARGV[3]
