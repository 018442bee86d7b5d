-- Returns principal, server, begun and head of the sessions from place ARGV[3] to ARGV[4], each after its id.
local rows = {}
for index, id in ipairs(redis.call('ZRANGE', prefix .. 'sessions', ARGV[3], ARGV[4])) do
  rows[index] = {id, unpack(redis.call('HMGET', session_key(id), 'principal', 'server', 'begun', 'head'))}
end
return rows
