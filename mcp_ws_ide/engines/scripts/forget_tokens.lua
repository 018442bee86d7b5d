-- Deletes gateway tokens that have expired: ARGV[3], ARGV[5], … if their values are still ARGV[4], ARGV[6], …, so that a
-- token which has been renewed stays.
for index = 3, #ARGV, 2 do
  if redis.call('HGET', prefix .. 'tokens', ARGV[index]) == ARGV[index + 1] then
    redis.call('HDEL', prefix .. 'tokens', ARGV[index])
  end
end
return 1
