-- Writes down what a dead run has lost. Once, however often it is asked.
-- KEYS: run, losses. ARGV: rows that the run owed, seconds that it is remembered, today as days since the epoch.
-- Returns how many rows are missing.
local through = tonumber(redis.call('HGET', KEYS[1], 'through') or 0)
local missing = tonumber(ARGV[1]) - through
if missing <= 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'through', ARGV[1])
redis.call('HINCRBY', KEYS[1], 'lost', string.format('%.0f', missing))
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('HINCRBY', KEYS[2], ARGV[3], string.format('%.0f', missing))
return missing
