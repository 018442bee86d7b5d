-- Deletes the session ARGV[3], unless it has a later epoch than ARGV[4]; fences this and earlier epochs.
local id, epoch = ARGV[3], tonumber(ARGV[4])
local head = read_head(id)
if head and head.epoch > epoch then return 0 end
redis.call('SET', prefix .. 'ended:' .. id, string.format('%.0f', epoch), 'EX', ENDED_SECONDS)
return delete(id) and 1 or 0
