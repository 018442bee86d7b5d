-- Renews the lease of the calling instance for ARGV[4] ms, with the facts ARGV[3]. Returns 0 if it had ended.
local key = prefix .. 'instance:' .. me
local lived = redis.call('EXISTS', key)
redis.call('SET', key, ARGV[3], 'PX', ARGV[4])
redis.call('SADD', prefix .. 'instances', me)
return lived
