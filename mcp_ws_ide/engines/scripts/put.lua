-- Stores a whole session, in place of what is stored of it. ARGV[3] is the record (MessagePack, see engines/base.py).
-- Returns 1; 0 if another owner has it, or has ended it.
local record = cmsgpack.unpack(ARGV[3])
local id, principal, epoch, number = record[1], record[2], record[9], record[10]
local stored = read_head(id)
if stored and (stored.epoch > epoch or (stored.epoch == epoch and stored.owner ~= me)) then return 0 end
if too_late(id, epoch) then return 0 end
if stored and stored.epoch == epoch and stored.number > number then return 1 end  -- an attempt that came late
delete(id)
local head = {epoch = epoch, number = number, received = record[11], base = record[12], sent = record[13],
  expires_at = time_text(record[16]), owner = me}
redis.call('HSET', session_key(id), 'head', head_text(head), 'principal', principal, 'server', record[3],
  'begun', string.format('%.17g %.0f %.0f', record[4], record[5], record[6]), 'facts', record[7], 'state', record[8])
for _, frame in ipairs(record[14]) do append(id, frame) end
add_requests(id, number, record[15])
redis.call('ZADD', prefix .. 'sessions', string.format('%.17g', record[4]), id)
redis.call('HINCRBY', prefix .. 'counts', principal, 1)
set_expiry(id, head.expires_at)
return 1
