-- Deletes the gateway token ARGV[3], and remembers that it was revoked until it would have expired, at ARGV[4]; 0 for
-- one that has expired.
redis.call('HDEL', prefix .. 'tokens', ARGV[3])
if tonumber(ARGV[4]) > 0 then redis.call('ZADD', prefix .. 'revoked', ARGV[4], ARGV[3]) end
return 1
