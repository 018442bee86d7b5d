-- Makes the caller the owner of a session: a new epoch; each request in flight becomes a frame at the end.
-- ARGV[3] is the session, ARGV[4] its principal, ARGV[5] an instance that is known to have ended.
-- Returns the session's hash and frames; the owner, if that lives; 0 for a damaged session; nothing, if the principal has
-- no such session.
local id, principal, ended = ARGV[3], ARGV[4], ARGV[5]
local key = session_key(id)
if redis.call('HGET', key, 'principal') ~= principal then return false end
local head = read_head(id)
if not head then return 0 end
if head.owner ~= me and head.owner ~= ended and lives(head.owner) then return head.owner end

local requests = {}
local fields = redis.call('HGETALL', key)
for index = 1, #fields, 2 do
  if string.sub(fields[index], 1, 2) == 'r:' then
    local state, batch, place, detail = string.match(fields[index + 1], '^(%d)(%d+)%.(%d+) (.*)$')
    requests[#requests + 1] = {key = string.sub(fields[index], 3), state = state, batch = tonumber(batch),
      place = tonumber(place), detail = detail}
  end
end
table.sort(requests, function(a, b)
  if a.batch ~= b.batch then return a.batch < b.batch end
  return a.place < b.place
end)
for _, request in ipairs(requests) do
  head.sent = head.sent + 1
  append(id, {head.sent, request.detail, 1, false, request.state == '1' and 'unknown' or 'not_sent', request.key})
  redis.call('HDEL', key, 'r:' .. request.key)
end
head.epoch, head.owner = head.epoch + 1, me
redis.call('HSET', key, 'head', head_text(head))
local fixed = redis.call('HMGET', key, 'head', 'server', 'begun', 'facts', 'state')
return {fixed, redis.call('XRANGE', frames_key(id), '-', '+')}
