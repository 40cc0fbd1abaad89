-- Life of a fence in milliseconds. The fence is marked as used, so that a renewal that is late does not revive it.
-- KEYS: lease, fence. ARGV: token, fence, life of the fence.
-- Returns 1 if the lease was the caller's, 0 if not.
if redis.call('GET', KEYS[2]) == ARGV[2] then
  redis.call('SET', KEYS[2], ARGV[2] .. '+', 'PX', ARGV[3])
end
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
