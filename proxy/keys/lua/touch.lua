-- When keys were last used, in whole seconds since the epoch; never set back. Returns nothing of interest.
-- KEYS: used (hash: id -> seconds). ARGV: id and seconds by turns.
for at = 1, #ARGV, 2 do
  if tonumber(redis.call('HGET', KEYS[1], ARGV[at]) or '0') < tonumber(ARGV[at + 1]) then
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  end
end
return 1
