-- Stores a whole session, in place of what is stored of it. ARGV[3] is the session (MessagePack, see engines/base.py).
-- Returns 1; 0 if another owner has it, or has ended it.
local session = cmsgpack.unpack(ARGV[3])
local id, principal, epoch, number = session[1], session[2], session[9], session[10]
local stored = read_head(id)
if stored and (stored.epoch > epoch or (stored.epoch == epoch and stored.owner ~= me)) then return 0 end
if too_late(id, epoch) then return 0 end
if stored and stored.epoch == epoch and stored.number > number then return 1 end  -- an attempt that came late
delete(id)
local head = {epoch = epoch, number = number, received = session[11], base = session[12], sent = session[13],
  expires_at = time_text(session[16]), owner = me}
redis.call('HSET', session_key(id), 'head', head_text(head), 'principal', principal, 'server', session[3],
  'begun', string.format('%.17g %.0f %.0f', session[4], session[5], session[6]), 'facts', session[7], 'state', session[8])
for _, frame in ipairs(session[14]) do append(id, frame) end
add_requests(id, number, session[15])
redis.call('ZADD', prefix .. 'sessions', string.format('%.17g', session[4]), id)
redis.call('HINCRBY', prefix .. 'counts', principal, 1)
set_expiry(id, head.expires_at)
return 1
