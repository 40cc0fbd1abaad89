-- Amounts in requests, tokens or nano-dollars. Counts what was used while nobody could be asked, and replaces what holds
-- took by what was used, each once. Batches are numbered by their owner, who sends one until it is answered: the last
-- number stands in his mark, with the answer.
-- ARGV: the owner's mark, the batch's number; how many charges, for each subject, kind, period, cost; for each hold:
-- name, how many subjects, which; how many costs, the costs in the order of its demands.
-- Returns which of the holds are unknown: 1, 2, …
local heard = redis.call('HGET', LOST, ARGV[1])
if heard and batch_in(heard) >= tonumber(ARGV[2]) then
  local answer = {}
  for word in string.gmatch(heard, ' (%d+)') do
    answer[#answer + 1] = tonumber(word)
  end
  return answer
end
-- Who can't be read fails before anything is written.
for index = 1, #KEYS - SHARED do
  subject(index)
end
local at = 4
for _ = 1, tonumber(ARGV[3]) do
  add(subject(tonumber(ARGV[at])), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]))
  at = at + 4
end
local unknown = {}
local number = 0
while at <= #ARGV do
  local id = ARGV[at]
  number = number + 1
  local names, costs = places(at + 1)
  local record = redis.call('HGET', HOLDS, id)
  local live = record
  if live then
    redis.call('HDEL', HOLDS, id)
    redis.call('ZREM', ENDS, id)
  else
    record = redis.call('HGET', LOST, id)
    redis.call('HDEL', LOST, id)
  end
  if not record then
    unknown[#unknown + 1] = number
  else
    local each = costs
    for index, kind, where, cost in parts(record) do
      each, kind, cost = each + 1, tonumber(kind), live and tonumber(cost) or 0
      local used = kind == CONCURRENT and 0 or tonumber(ARGV[each])
      local name = names[tonumber(index)]
      -- A record that somebody else damaged must not hold up those of others.
      if name and used and kind ~= 0 and used ~= cost then
        add(subject(name), kind, tonumber(where), used - cost)
      end
    end
  end
  at = costs + 1 + tonumber(ARGV[costs])
end
local said = #unknown == 0 and ARGV[2] or ARGV[2] .. ' ' .. table.concat(unknown, ' ')
redis.call('HSET', LOST, ARGV[1], said)
if not heard then
  redis.call('ZADD', FORGOTTEN, now + MONTHS, ARGV[1])
end
save_all()
return unknown
