-- Returns each instance that was not forgotten, followed by its facts, or by nothing if its lease has ended.
local rows = {}
for index, id in ipairs(redis.call('SMEMBERS', prefix .. 'instances')) do
  rows[index] = {id, redis.call('GET', prefix .. 'instance:' .. id)}
end
return rows
