-- Life in milliseconds. Holds whose owner lives last on.
-- ARGV: life, then names of holds.
-- Returns the names of those that had been given up for lost.
local ends = now + ARGV[1]
local lost = {}
for at = 2, #ARGV do
  local id = ARGV[at]
  if redis.call('ZADD', ENDS, 'XX', 'CH', ends, id) == 0 and redis.call('HEXISTS', LOST, id) == 1 then
    lost[#lost + 1] = id
  end
end
return lost
