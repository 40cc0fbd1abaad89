-- Life of a fence in milliseconds. The fence is marked as used, so that a renewal that is late does not revive it:
-- with "+", or with "-" if the answer was good for one only. Deletes first: what a full server refuses is the mark.
-- KEYS: lease, fence. ARGV: token, fence, life of the fence, mark.
-- Returns 1 if the lease was the caller's, 0 if not.
local gone = 0
if redis.call('GET', KEYS[1]) == ARGV[1] then
  gone = redis.call('DEL', KEYS[1])
end
if redis.call('GET', KEYS[2]) == ARGV[2] then
  redis.call('SET', KEYS[2], ARGV[2] .. ARGV[4], 'PX', ARGV[3])
end
return gone
