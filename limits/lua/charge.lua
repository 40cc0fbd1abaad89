-- Amounts in requests or nano-dollars. Counts what was used while nobody could be asked, each name once.
-- ARGV: name, then for each counter: subject, kind, period, cost.
-- Returns 1, or 0 if it was counted before.
local id = ARGV[1]
if redis.call('HSETNX', LOST, id, '') == 0 then
  return 0
end
redis.call('ZADD', FORGOTTEN, now + LATE, id)
for at = 2, #ARGV, 4 do
  add(subject(tonumber(ARGV[at])), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]))
end
save_all()
return 1
