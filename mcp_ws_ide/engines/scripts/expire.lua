-- Deletes at most ARGV[4] sessions whose time has passed at ARGV[3]; returns their ids.
local expired = redis.call('ZRANGEBYSCORE', prefix .. 'expiry', '-inf', ARGV[3], 'LIMIT', 0, ARGV[4])
for _, id in ipairs(expired) do delete(id) end
return expired
