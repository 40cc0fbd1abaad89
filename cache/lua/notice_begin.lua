-- KEYS: counter. ARGV: a number to begin with, where there is none yet.
if redis.call('HSETNX', KEYS[1], 'first', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'last', ARGV[1])
end
return 1
