-- Commits batches, each as a whole or not at all. ARGV[3] is a list of them (MessagePack, see engines/base.py).
-- Returns an outcome for each: 1 committed, 2 fenced, 3 behind.
local COMMITTED, FENCED, BEHIND = 1, 2, 3

local function check(batch, head)
  local epoch, number, received, sent = batch[2], batch[3], batch[6], batch[7]
  if not head then return too_late(batch[1], epoch) and FENCED or BEHIND end
  if epoch < head.epoch then return FENCED end
  if epoch > head.epoch then return BEHIND end
  if head.owner ~= me then return FENCED end
  if number == head.number + 1 and batch[4] == head.received and batch[5] == head.sent then return nil end
  if number == head.number and received == head.received and sent == head.sent then return COMMITTED end
  return BEHIND
end

local function change_frames(id, batch, head)
  local acknowledged = batch[8]
  for _, frame in ipairs(batch[9]) do append(id, frame) end
  for _, position in ipairs(batch[10]) do redis.call('XDEL', frames_key(id), string.format('%.0f-0', position)) end
  if acknowledged > head.base then
    head.base = acknowledged
    trim(id, head)
  end
end

local function change_requests(id, batch)
  local key = session_key(id)
  for _, name in ipairs(batch[11]) do redis.call('HDEL', key, 'r:' .. name) end
  add_requests(id, batch[3], batch[12])
  for _, name in ipairs(batch[13]) do
    local request = redis.call('HGET', key, 'r:' .. name)
    if request then redis.call('HSET', key, 'r:' .. name, '1' .. string.sub(request, 2)) end
  end
end

local function commit(batch)
  local id = batch[1]
  local head = read_head(id)
  local outcome = check(batch, head)
  if outcome then return outcome end
  head.number, head.received, head.sent = batch[3], batch[6], batch[7]
  change_frames(id, batch, head)
  change_requests(id, batch)
  if batch[16] then
    head.expires_at = time_text(batch[16])
    set_expiry(id, head.expires_at)
  end
  redis.call('HSET', session_key(id), 'head', head_text(head))
  if batch[14] then redis.call('HSET', session_key(id), 'state', batch[14]) end
  if batch[15] then redis.call('HSET', session_key(id), 'facts', batch[15]) end
  return COMMITTED
end

local outcomes = {}
for index, batch in ipairs(cmsgpack.unpack(ARGV[3])) do outcomes[index] = commit(batch) end
return outcomes
