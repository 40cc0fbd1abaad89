-- Life of an entry and of a fence in milliseconds. Stores an answer unless a younger one is there: the moment each was
-- made stands in its head. Without a token that is all. The holder of a lease ends it, and is refused if somebody else
-- has been given a lease since. What is no entry of the same version does not count.
-- KEYS: lease, fence, entry. ARGV: token or nothing, fence, life of the fence, life of the entry, the entry.
-- Returns 1 if it was stored, 0 if the lease was lost, -1 if a younger one is there.
local led = ARGV[1] ~= ''
local holder = led and redis.call('GET', KEYS[1])
if led then
  local last = redis.call('GET', KEYS[2])
  if (holder and holder ~= ARGV[1]) or (last and last ~= ARGV[2]) then
    return 0
  end
end
local there = redis.pcall('GETRANGE', KEYS[3], 0, 23)
local younger = type(there) == 'string' and #there == 24
  and string.sub(there, 1, 5) == string.sub(ARGV[5], 1, 5)
  and struct.unpack('>d', there, 17) > struct.unpack('>d', ARGV[5], 17)
if not younger then
  redis.call('SET', KEYS[3], ARGV[5], 'PX', ARGV[4])
end
if led then
  redis.call('SET', KEYS[2], ARGV[2] .. '+', 'PX', ARGV[3])
end
if holder then
  redis.call('DEL', KEYS[1])
end
return younger and -1 or 1
