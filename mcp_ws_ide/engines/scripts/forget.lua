-- Forgets the instance ARGV[3] if it has ended, or if it is the one that calls.
local id = ARGV[3]
if id == me or not lives(id) then
  redis.call('DEL', lease_key(id))
  redis.call('HDEL', prefix .. 'instances', id)
end
return 1
