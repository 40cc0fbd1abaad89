-- Life in milliseconds. Looks for holds that have ended without their owner, and forgets those that ended long ago.
-- ARGV: life, how many.
-- Returns names and records, by turns.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', FORGOTTEN, '-inf', now, 'LIMIT', 0, ARGV[2])) do
  redis.call('HDEL', LOST, id)
  redis.call('ZREM', FORGOTTEN, id)
end
-- Where the clock went back, no hold lasts longer for it.
local latest = string.format('%.0f', now + ARGV[1])
for _, id in ipairs(redis.call('ZRANGEBYSCORE', ENDS, '(' .. latest, '+inf')) do
  redis.call('ZADD', ENDS, latest, id)
end
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', ENDS, '-inf', now, 'LIMIT', 0, ARGV[2])) do
  found[#found + 1] = id
  found[#found + 1] = redis.call('HGET', HOLDS, id) or ''
end
return found
