-- Says whether a lease is held, and to its holder that somebody waits for its end. Whoever waits asks again before that
-- has been forgotten. A full server hears nothing of it: the lease is waited for all the same.
-- KEYS: lease, who waits. ARGV: milliseconds after which it is forgotten.
-- Returns 1 if the lease is held, 0 if not.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.pcall('SET', KEYS[2], '', 'PX', ARGV[1])
return 1
