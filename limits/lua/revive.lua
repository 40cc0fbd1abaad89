-- Life in milliseconds. Holds that were given up for lost take again what they took, also beyond a limit.
-- ARGV: life, then for each hold: name, how many subjects, which.
-- Returns how many did.
read_all()
local revived = 0
local at = 2
while at <= #ARGV do
  local id = ARGV[at]
  local names, rest = places(at + 1)
  local record = redis.call('HGET', LOST, id)
  if record then
    redis.call('HDEL', LOST, id)
    apply(record, names, 1)
    redis.call('HSET', HOLDS, id, record)
    redis.call('ZADD', ENDS, now + ARGV[1], id)
    revived = revived + 1
  end
  at = rest
end
save_all()
return revived
