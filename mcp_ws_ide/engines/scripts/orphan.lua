-- Gives the time ARGV[3] to the sessions with a link whose owner does not live, among those from place ARGV[4] to
-- ARGV[5]. Returns how many these are, and how many sessions there were.
local ids = redis.call('ZRANGE', prefix .. 'sessions', ARGV[4], ARGV[5])
local orphans, living = 0, {}
for _, id in ipairs(ids) do
  local head = read_head(id)
  if head and living[head.owner] == nil then living[head.owner] = lives(head.owner) end
  if head and tonumber(head.expires_at) == 0 and not living[head.owner] then
    head.expires_at = ARGV[3]
    set_expiry(id, head.expires_at)
    redis.call('HSET', session_key(id), 'head', head_text(head))
    orphans = orphans + 1
  end
end
return {orphans, #ids}
