-- Returns the number of sessions of the principal ARGV[3].
return tonumber(redis.call('HGET', prefix .. 'counts', ARGV[3]) or 0)
