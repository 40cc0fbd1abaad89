-- Life of an entry and of a fence in milliseconds. Stores what the holder of a lease has made, and ends the lease,
-- unless somebody else has been given a lease since: whose answer is younger.
-- KEYS: lease, fence, entry. ARGV: token, fence, life of the fence, life of the entry, the entry.
-- Returns 1 if it was stored, 0 if not.
local holder = redis.call('GET', KEYS[1])
local last = redis.call('GET', KEYS[2])
if (holder and holder ~= ARGV[1]) or (last and last ~= ARGV[2]) then
  return 0
end
redis.call('SET', KEYS[3], ARGV[5], 'PX', ARGV[4])
redis.call('SET', KEYS[2], ARGV[2] .. '+', 'PX', ARGV[3])
if holder then
  redis.call('DEL', KEYS[1])
end
return 1
