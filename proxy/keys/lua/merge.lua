-- Gives back records that the store has lost; those that it has are newer. Returns how many were missing.
-- KEYS: records, log, state. ARGV: name and record by turns.
local missing = 0
for at = 1, #ARGV, 2 do
  if redis.call('HSETNX', KEYS[1], ARGV[at], ARGV[at + 1]) == 1 then
    local revision = redis.call('HINCRBY', KEYS[3], 'revision', 1)
    redis.call('ZADD', KEYS[2], string.format('%.0f', revision), ARGV[at])
    missing = missing + 1
  end
end
return missing
