-- Drops records, and of those that have ended by this server's clock, or are more than there may be, the first to end.
-- KEYS: names (keys by the millisecond in which they end), changes. ARGV: prefix of records, prefix of vectors or
-- nothing, changes to keep, most records, most that go unasked, aliases that one may have, the keys of those to drop.
-- Returns how many went.
local keys = {}
for at = 7, #ARGV do
  keys[#keys + 1] = ARGV[at]
end
local most = tonumber(ARGV[5])
if most > 0 then
  local now = redis.call('TIME')
  local past = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
  local ended = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', past, 'LIMIT', 0, most)
  local over = math.min(most, redis.call('ZCARD', KEYS[1]) - ARGV[4])
  if over > #ended then
    ended = redis.call('ZRANGE', KEYS[1], 0, over - 1)
  end
  for _, key in ipairs(ended) do
    keys[#keys + 1] = key
  end
end
local gone, said = 0, {}
for _, key in ipairs(keys) do
  local was = redis.call('UNLINK', ARGV[1] .. key)
  if redis.call('ZREM', KEYS[1], key) == 1 or was == 1 then
    gone = gone + 1
    said[#said + 1] = 'drop'
    said[#said + 1] = key
    if ARGV[2] ~= '' then
      redis.call('UNLINK', ARGV[2] .. key)
      for place = 1, tonumber(ARGV[6]) do
        redis.call('UNLINK', ARGV[2] .. key .. '.' .. place)
      end
    end
  end
end
if #said > 0 then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', unpack(said))
end
return gone
