-- Gives up the session ARGV[3] under the epoch ARGV[4]; it waits for its client until ARGV[5], if it had a link.
-- Returns 0 if the caller did not own it.
local id = ARGV[3]
local head = read_head(id)
if not head or head.owner ~= me or head.epoch ~= tonumber(ARGV[4]) then return 0 end
head.owner = NOBODY
if tonumber(head.expires_at) == 0 then
  head.expires_at = ARGV[5]
  set_expiry(id, head.expires_at)
end
redis.call('HSET', session_key(id), 'head', head_text(head))
return 1
