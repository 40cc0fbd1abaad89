-- Life of a record in milliseconds, counted by this server's clock. What was learnt of the record of this key stays,
-- unless that was in another partition: its similarities and vectors are of another kind then; or of another answer.
-- KEYS: record, names (keys by the millisecond in which they end), changes.
-- ARGV: key, partition, when the answer was made, life, the record, changes to keep,
-- prefix of vectors, vector or nothing, digest of the answer or nothing.
-- Returns how many records there are; -1 if there is one of a later answer.
local there = redis.call('HMGET', KEYS[1], 'created', 'partition', 'aliases', 'answer')
if there[1] and tonumber(there[1]) > tonumber(ARGV[3]) then
  return -1
end
local aliases = tonumber(there[3] or 0)
local other = there[4] and ARGV[9] ~= '' and there[4] ~= ARGV[9]
if there[2] and (there[2] ~= ARGV[2] or other) then
  redis.call('DEL', KEYS[1])
  for place = 0, aliases do
    redis.call('DEL', ARGV[7] .. ARGV[1] .. (place > 0 and '.' .. place or ''))
  end
  aliases = 0
end
local now = redis.call('TIME')
local ends = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[4])
redis.call('HSET', KEYS[1], 'record', ARGV[5], 'created', ARGV[3], 'partition', ARGV[2])
if ARGV[9] ~= '' then
  redis.call('HSET', KEYS[1], 'answer', ARGV[9])
else
  redis.call('HDEL', KEYS[1], 'answer')
end
redis.call('PEXPIREAT', KEYS[1], ends)
if ARGV[8] ~= '' then
  redis.call('HSET', ARGV[7] .. ARGV[1], 'partition', ARGV[2], 'vector', ARGV[8])
  for place = 0, aliases do
    redis.call('PEXPIREAT', ARGV[7] .. ARGV[1] .. (place > 0 and '.' .. place or ''), ends)
  end
end
redis.call('ZADD', KEYS[2], ends, ARGV[1])
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[6], '*', 'add', ARGV[1])
return redis.call('ZCARD', KEYS[2])
