-- Similarities are decimal numbers from 0 to 2. A record that has gone stays so. An alias begins with sixteen bytes by
-- which it is known again. Questions that were refused are known by sixteen bytes each.
-- KEYS: record, changes, which records have an alias of whoever asks, or nothing. ARGV: key, partition, similarity, wrong labels more, alias or nothing, most aliases,
-- changes to keep, prefix of vectors, vector of the alias or nothing, a question that was refused or nothing, most of
-- them, digest of the answer that all of this was learnt of or nothing. Of a question that is known to be refused wrong labels are not counted again.
-- Returns 1 if all of it holds now, 0 if the alias found no place, -1 if there is no such record in this partition, or
-- one of another answer.
local there = redis.call('HMGET', KEYS[1], 'partition', 'least', 'aliases', 'refused', 'answer')
if there[1] ~= ARGV[2] or (there[5] and ARGV[12] ~= '' and there[5] ~= ARGV[12]) then
  return -1
end
local news = false
if tonumber(ARGV[3]) > tonumber(there[2] or 0) then
  redis.call('HSET', KEYS[1], 'least', ARGV[3])
  news = true
end
local refused, again = there[4] or '', false
if ARGV[10] ~= '' then
  for at = 1, #refused, 16 do
    again = again or string.sub(refused, at, at + 15) == ARGV[10]
  end
  if not again and #refused < 16 * ARGV[11] then
    redis.call('HSET', KEYS[1], 'refused', refused .. ARGV[10])
    news = true
  end
end
if tonumber(ARGV[4]) > 0 and not again then
  redis.call('HINCRBY', KEYS[1], 'wrong', ARGV[4])
  news = true
end
local aliases, room = tonumber(there[3] or 0), true
if ARGV[5] ~= '' then
  local known = false
  for place = 1, aliases do
    known = known or string.sub(redis.call('HGET', KEYS[1], 'alias:' .. place), 1, 16) == string.sub(ARGV[5], 1, 16)
  end
  room = known or aliases < tonumber(ARGV[6])
  if room and not known then
    local place = string.format('%d', aliases + 1)
    redis.call('HSET', KEYS[1], 'alias:' .. place, ARGV[5], 'aliases', place)
    if KEYS[3] then
      local life = math.max(redis.call('PTTL', KEYS[3]), redis.call('PTTL', KEYS[1]))
      redis.call('SADD', KEYS[3], ARGV[1])
      redis.call('PEXPIRE', KEYS[3], life)
    end
    if ARGV[9] ~= '' then
      local vector = ARGV[8] .. ARGV[1] .. '.' .. place
      redis.call('HSET', vector, 'partition', ARGV[2], 'vector', ARGV[9])
      redis.call('PEXPIRE', vector, redis.call('PTTL', KEYS[1]))
    end
    news = true
  end
end
if news then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[7], '*', 'change', ARGV[1])
end
return room and 1 or 0
