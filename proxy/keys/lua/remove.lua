-- Removes one record if it is in the revision expected. Returns 1, or 0 if it is not.
-- KEYS: records, log, state, used. ARGV: name, revision expected, its field in `used`.
if tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or '0') ~= tonumber(ARGV[2]) then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[3])
redis.call('HINCRBY', KEYS[3], 'generation', 1)
return 1
