-- Life of a lease in milliseconds, life of a fence in milliseconds. A fence is a number that grows with every lease of
-- a key: microseconds of this server's clock, so that it grows even where the last one has been forgotten.
-- KEYS: lease, fence, entry. ARGV: token, life of the lease, life of the fence, "1" if an entry makes a lease needless.
-- Whoever asks again, because no answer reached him, has what he was given.
-- Returns the fence; 0 if somebody else has the lease; -1 if the entry is there.
if ARGV[4] == '1' and redis.call('EXISTS', KEYS[3]) == 1 then
  return -1
end
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local now = redis.call('TIME')
local fence = now[1] * 1000000 + now[2]
local last = tonumber(string.match(redis.call('GET', KEYS[2]) or '0', '%d+'))
if fence <= last then
  fence = last + 1
end
redis.call('SET', KEYS[2], string.format('%.0f', fence), 'PX', ARGV[3])
return fence
