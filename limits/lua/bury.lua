-- Times in milliseconds. Holds that have ended without their owner give back what they took. Their names are kept for
-- an hour, in case that he lives after all.
-- ARGV, for each: name, how many subjects, which.
-- Returns how many had ended.
read_all()
local buried = 0
local at = 1
while at <= #ARGV do
  local id = ARGV[at]
  local names, rest = places(at + 1)
  local ends = redis.call('ZSCORE', ENDS, id)
  if ends and tonumber(ends) <= now then
    local record = redis.call('HGET', HOLDS, id)
    redis.call('ZREM', ENDS, id)
    if record then
      redis.call('HDEL', HOLDS, id)
      apply(record, names, -1)
      redis.call('HSET', LOST, id, record)
      redis.call('ZADD', FORGOTTEN, now + LATE, id)
      buried = buried + 1
    end
  end
  at = rest
end
save_all()
return buried
