-- ARGV[3] is a list of sessions and epochs (MessagePack). Returns an outcome for each: 1 the caller owns it, 2 somebody
-- else does, or it has ended, 3 it is not stored.
local outcomes = {}
for index, entry in ipairs(cmsgpack.unpack(ARGV[3])) do
  local id, epoch = entry[1], entry[2]
  local head = read_head(id)
  if head then
    outcomes[index] = (head.owner == me and head.epoch == epoch) and 1 or 2
    if head.epoch < epoch then outcomes[index] = 3 end
  else
    outcomes[index] = too_late(id, epoch) and 2 or 3
  end
end
return outcomes
