-- Puts the rows of one batch into the stream, but those whose call id is there already, and notes how far the run is.
-- A batch that the run is past was here before.
-- KEYS: stream, state, run, losses, then sets of the call ids of a minute.
-- ARGV: rows kept at most, seconds that call ids are remembered, seconds that the run is, rows accounted for, rows
-- lost, today as days since the epoch, then by threes: which set (1 is the first), call id, packed row.
-- Returns how many rows were new.
local known = redis.call('HMGET', KEYS[3], 'through', 'lost')
if tonumber(ARGV[4]) <= tonumber(known[1] or 0) then
  return 0
end
local lost = tonumber(ARGV[5]) - tonumber(known[2] or 0)
if lost > 0 then
  redis.call('HINCRBY', KEYS[4], ARGV[6], string.format('%.0f', lost))
end
redis.call('HSET', KEYS[3], 'through', ARGV[4], 'lost', ARGV[5])
redis.call('EXPIRE', KEYS[3], ARGV[3])

local new = 0
for at = 7, #ARGV, 3 do
  if redis.call('SADD', KEYS[4 + tonumber(ARGV[at])], ARGV[at + 1]) == 1 then
    new = new + 1
    local number = redis.call('HINCRBY', KEYS[2], 'added', 1)
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'n', string.format('%.0f', number), 'row', ARGV[at + 2])
  end
end
for at = 5, #KEYS do
  redis.call('EXPIRE', KEYS[at], ARGV[2])
end
return new
