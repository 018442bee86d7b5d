-- Returns the gateway tokens, and the ids of those that were revoked, each with the time when it would have expired.
-- Forgets those that have expired at ARGV[3].
for _, id in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'revoked', '-inf', ARGV[3])) do
  redis.call('ZREM', prefix .. 'revoked', id)
end
return {redis.call('HGETALL', prefix .. 'tokens'), redis.call('ZRANGE', prefix .. 'revoked', 0, -1)}
