-- Forgets questions that lead to a record and are not its own. The last of them takes the place of one that goes.
-- KEYS: record, changes. ARGV: key, changes to keep, prefix of vectors, then the sixteen bytes by which each is known.
-- Returns how many went.
local aliases = tonumber(redis.call('HGET', KEYS[1], 'aliases') or 0)
local left = aliases
for at = 4, #ARGV do
  for place = 1, left do
    local alias = redis.call('HGET', KEYS[1], 'alias:' .. place)
    if alias and string.sub(alias, 1, 16) == ARGV[at] then
      local here, last = ARGV[3] .. ARGV[1] .. '.' .. place, ARGV[3] .. ARGV[1] .. '.' .. left
      if place < left then
        redis.call('HSET', KEYS[1], 'alias:' .. place, redis.call('HGET', KEYS[1], 'alias:' .. left))
        local vector = redis.call('HGET', last, 'vector')
        if vector then
          redis.call('HSET', here, 'vector', vector)
        else
          redis.call('UNLINK', here)
        end
      end
      redis.call('UNLINK', last)
      redis.call('HDEL', KEYS[1], 'alias:' .. left)
      left = left - 1
      break
    end
  end
end
if left < aliases then
  redis.call('HSET', KEYS[1], 'aliases', string.format('%d', left))
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'change', ARGV[1])
end
return aliases - left
