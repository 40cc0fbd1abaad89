-- What was written since; nothing in a store that is as the reader knows it.
-- KEYS: records (hash: name -> JSON), log (sorted set: name by revision), state (hash). All lie in one slot.
-- ARGV: the reader's epoch, generation and revision; how many records to give at most; the pepper's mark; an epoch,
-- should there be none.
-- Returns epoch, generation, revision, mark, 1 if these are the first of all there are; then name, revision and
-- record by turns.
local state = redis.call('HMGET', KEYS[3], 'epoch', 'generation', 'revision', 'pepper')
local epoch, generation, revision, mark = state[1], state[2] or '0', state[3] or '0', state[4]
if not mark then
  mark = ARGV[5]
  redis.call('HSET', KEYS[3], 'pepper', mark)
end
if not epoch or redis.call('HLEN', KEYS[1]) ~= redis.call('ZCARD', KEYS[2]) then
  -- Empty, or emptied in part: what is left is counted anew, and readers give back what they know.
  epoch = ARGV[6]
  redis.call('DEL', KEYS[2])
  for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
    revision = string.format('%.0f', redis.call('HINCRBY', KEYS[3], 'revision', 1))
    redis.call('ZADD', KEYS[2], revision, name)
  end
  redis.call('HSET', KEYS[3], 'epoch', epoch, 'generation', generation, 'revision', revision)
end
local whole, since = 0, ARGV[3]
if epoch ~= ARGV[1] or generation ~= ARGV[2] then
  whole, since = 1, '0'
end
local answer = {epoch, generation, revision, mark, whole}
if since == revision then
  return answer
end
local found = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. since, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[4])
for at = 1, #found, 2 do
  answer[#answer + 1] = found[at]
  answer[#answer + 1] = found[at + 1]
  answer[#answer + 1] = redis.call('HGET', KEYS[1], found[at]) or ''
end
return answer
