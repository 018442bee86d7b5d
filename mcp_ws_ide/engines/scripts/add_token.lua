-- Adds the gateway token ARGV[3], unless it was revoked; ARGV[4] is its value.
if not redis.call('ZSCORE', prefix .. 'revoked', ARGV[3]) then
  redis.call('HSET', prefix .. 'tokens', ARGV[3], ARGV[4])
end
return 1
