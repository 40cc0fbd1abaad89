-- Adds the sums of some entries to their days and ends their delivery, both or neither: whoever comes second, after a
-- death or a repetition, finds them no longer pending. Nothing fails once something is written: a sum that is beyond
-- what can be counted, or no number, is as much as can be.
-- KEYS: stream, days, losses, then a hash for each day.
-- ARGV: group, fields that a day may have, rows that can't be read, today as days since the epoch, how many ids, the
-- ids, then by fours: which hash (1 is the first), the group's name, its name if the day is full, how many pairs; and
-- the pairs, a measure and an amount each.
-- Returns the ids that are not pending; if there are any, nothing was done.
local missing = {}
local ids = {}
for at = 6, 5 + tonumber(ARGV[5]) do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[at], ARGV[at], 1) == 0 then
    missing[#missing + 1] = ARGV[at]
  end
  ids[#ids + 1] = ARGV[at]
end
if #missing > 0 then
  return missing
end

for key = 4, #KEYS do
  redis.call('HLEN', KEYS[key])
end
redis.call('HLEN', KEYS[3])
redis.call('SCARD', KEYS[2])
local function add(key, field, amount)
  if type(redis.pcall('HINCRBY', key, field, amount)) == 'table' then
    redis.call('HSET', key, field, '4611686018427387904')
  end
end

local at = 6 + #ids
while at < #ARGV do
  local day, name, pairs = KEYS[3 + tonumber(ARGV[at])], ARGV[at + 1], tonumber(ARGV[at + 3])
  if redis.call('HEXISTS', day, name .. '\nrequests') == 0 and redis.call('HLEN', day) >= tonumber(ARGV[2]) then
    name = ARGV[at + 2]
  end
  for pair = at + 4, at + 2 + 2 * pairs, 2 do
    add(day, name .. '\n' .. ARGV[pair], ARGV[pair + 1])
  end
  at = at + 4 + 2 * pairs
end
for day = 4, #KEYS do
  redis.call('SADD', KEYS[2], string.match(KEYS[day], '%d+$'))
end
if ARGV[3] ~= '0' then
  add(KEYS[3], ARGV[4], ARGV[3])
end
redis.call('XACK', KEYS[1], ARGV[1], unpack(ids))
return {}
