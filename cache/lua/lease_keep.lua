-- Life of a lease in milliseconds. A lease that was forgotten is taken again if nobody had one since.
-- KEYS: lease, fence. ARGV: token, fence, life of the lease.
-- Returns 1 if the lease is the caller's, 0 if not.
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return 1
end
local last = redis.call('GET', KEYS[2])
if not holder and (not last or last == ARGV[2]) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
  return 1
end
return 0
