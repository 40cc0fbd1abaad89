-- Writes one record if it is in the revision expected. Returns the new revision, -1 if it is in another one, -2 if
-- there are too many.
-- KEYS: records, log, state. ARGV: name, revision expected (0: it must not exist), record, how many there may be.
local there = redis.call('ZSCORE', KEYS[2], ARGV[1])
if tonumber(there or '0') ~= tonumber(ARGV[2]) then
  return -1
end
if not there and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then
  return -2
end
local revision = redis.call('HINCRBY', KEYS[3], 'revision', 1)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[2], string.format('%.0f', revision), ARGV[1])
return revision
