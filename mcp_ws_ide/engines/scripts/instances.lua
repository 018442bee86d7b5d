-- Returns each instance that was not forgotten, followed by its facts, or by nothing if it has ended.
local rows, fields = {}, redis.call('HGETALL', prefix .. 'instances')
for index = 1, #fields, 2 do
  local id, facts = fields[index], fields[index + 1]
  rows[#rows + 1] = {id, lives(id) and facts or nil}
end
return rows
