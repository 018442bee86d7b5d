-- Returns the number of sessions, and the bytes that they use, estimated from at most ARGV[3] of them.
-- Writes something, to show whether the server accepts writes.
redis.call('SET', prefix .. 'probe', me, 'EX', 60)
local number = redis.call('ZCARD', prefix .. 'sessions')
local bytes, sampled = 0, 0
for _, id in ipairs(redis.call('ZRANDMEMBER', prefix .. 'sessions', ARGV[3])) do
  -- all six fields: five samples, the default, may leave out the one that is large
  bytes = bytes + (redis.call('MEMORY', 'USAGE', session_key(id), 'SAMPLES', 0) or 0)
  bytes = bytes + (redis.call('MEMORY', 'USAGE', frames_key(id)) or 0)
  sampled = sampled + 1
end
return {number, sampled == 0 and 0 or math.floor(bytes / sampled * number)}
