-- Writes the vectors of a record where nobody searched when it was put. KEYS: record. ARGV: key, partition, prefix of
-- vectors, the vector of its question and of each alias, or nothing.
-- Returns 1, or 0 if there is no such record in this partition any more.
local there = redis.call('HMGET', KEYS[1], 'partition', 'aliases')
if there[1] ~= ARGV[2] then
  return 0
end
local life = redis.call('PTTL', KEYS[1])
for place = 0, math.min(#ARGV - 4, tonumber(there[2] or 0)) do
  if ARGV[4 + place] ~= '' then
    local name = ARGV[3] .. ARGV[1] .. (place > 0 and '.' .. place or '')
    redis.call('HSET', name, 'partition', ARGV[2], 'vector', ARGV[4 + place])
    redis.call('PEXPIRE', name, life)
  end
end
return 1
