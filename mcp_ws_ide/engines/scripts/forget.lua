-- Forgets the instance ARGV[3] if its lease has ended, or if it is the one that calls.
local id = ARGV[3]
if id == me then redis.call('DEL', prefix .. 'instance:' .. id) end
if not lives(id) then redis.call('SREM', prefix .. 'instances', id) end
return 1
