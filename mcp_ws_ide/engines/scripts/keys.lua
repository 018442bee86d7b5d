-- Begins every script. ARGV[1] is the prefix of all keys, ARGV[2] the instance that calls.
--
--   s:<session>     hash: head, principal, server, begun, facts, state, and r:<key> for each request in flight
--   f:<session>     stream: the frames that the client has not acknowledged; the id of position 7 is 7-0
--   ended:<session> the epoch under which a session has ended, for a while
--   sessions        sorted set: all sessions, by the time when they were created
--   expiry          sorted set: the sessions without a link, by the time after which they may be deleted
--   counts          hash: the number of sessions of each principal
--   instance:<id>   the lease of an instance
--   instances       hash: the facts of the instances that had a lease
--   new:<id>        exists for as long as a lease runs, from when the lease of an instance began
--   tokens          hash: the gateway tokens, sealed, by id
--   revoked         sorted set: the ids of revoked ones, by the time when they would have expired
--   keys            the fingerprint of the keys that seal
--
-- A position that has no frame is a gap. A request is stored as its state ("1": transmitted, "0": not), its place in the
-- order, a blank, and its detail.

local prefix, me = ARGV[1], ARGV[2]
local ENDED_SECONDS = 3600
local NOBODY = '-'

local function session_key(id) return prefix .. 's:' .. id end
local function frames_key(id) return prefix .. 'f:' .. id end
local function exists(key) return redis.call('EXISTS', key) == 1 end
local function lease_key(instance) return prefix .. 'instance:' .. instance end

-- Whether an instance may be alive. An outage of this server ends all leases; so the caller cannot tell until it has held
-- its own for so long that those who live have renewed theirs.
local function lives(instance)
  if instance == NOBODY then return false end
  if exists(lease_key(instance)) then return true end
  local shares = redis.call('HEXISTS', prefix .. 'instances', me) == 1
  return shares and (not exists(lease_key(me)) or exists(prefix .. 'new:' .. me))
end

-- The head has what each batch checks and changes: epoch, number, received, sent, base, expires_at, owner. Nil if there
-- is none, or if it is damaged.
local function read_head(id)
  local head = redis.call('HGET', session_key(id), 'head')
  if not head then return nil end
  local epoch, number, received, sent, base, expires_at, owner =
    string.match(head, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%S+) (%S+)$')
  if not owner then return nil end
  return {epoch = tonumber(epoch), number = tonumber(number), received = tonumber(received), sent = tonumber(sent),
    base = tonumber(base), expires_at = expires_at, owner = owner}
end

local function head_text(head)
  return string.format('%.0f %.0f %.0f %.0f %.0f %s %s', head.epoch, head.number, head.received, head.sent, head.base,
    head.expires_at, head.owner)
end

local function time_text(seconds) return string.format('%.17g', seconds) end

local function set_expiry(id, expires_at)
  if tonumber(expires_at) == 0 then
    redis.call('ZREM', prefix .. 'expiry', id)
  else
    redis.call('ZADD', prefix .. 'expiry', expires_at, id)
  end
end

local function too_late(id, epoch)
  local ended = redis.call('GET', prefix .. 'ended:' .. id)
  return ended and epoch <= tonumber(ended)
end

local function append(id, frame)
  local position, data, droppable, outcome, key = frame[1], frame[2], frame[4], frame[5], frame[6]
  local place = string.format('%.0f-0', position)
  if outcome ~= '' then
    redis.call('XADD', frames_key(id), place, 'd', data, 'o', outcome, 'k', key)
  elseif droppable then
    redis.call('XADD', frames_key(id), place, 'd', data, 'p', '1')
  elseif data ~= '' then
    redis.call('XADD', frames_key(id), place, 'd', data)
  end
end

local function trim(id, head)
  if head.base >= head.sent then
    redis.call('DEL', frames_key(id))
  else
    redis.call('XTRIM', frames_key(id), 'MINID', string.format('%.0f-0', head.base + 1))
  end
end

local function add_requests(id, number, entries)
  for index, entry in ipairs(entries) do
    local state = entry[3] and '1' or '0'
    local place = string.format('%s%.0f.%d ', state, number, index)
    redis.call('HSET', session_key(id), 'r:' .. entry[1], place .. entry[2])
  end
end

local function delete(id)
  local principal = redis.call('HGET', session_key(id), 'principal')
  if not principal then return false end
  redis.call('DEL', session_key(id), frames_key(id))
  redis.call('ZREM', prefix .. 'sessions', id)
  redis.call('ZREM', prefix .. 'expiry', id)
  if redis.call('HINCRBY', prefix .. 'counts', principal, -1) <= 0 then
    redis.call('HDEL', prefix .. 'counts', principal)
  end
  return true
end
