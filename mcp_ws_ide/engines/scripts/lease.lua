-- Renews the lease of the calling instance for ARGV[4] ms, with the facts ARGV[3]. Returns 0 if it had ended.
local lived = exists(lease_key(me))
if not lived then redis.call('SET', prefix .. 'new:' .. me, '', 'PX', ARGV[4]) end
redis.call('SET', lease_key(me), '', 'PX', ARGV[4])
redis.call('HSET', prefix .. 'instances', me, ARGV[3])
return lived and 1 or 0
