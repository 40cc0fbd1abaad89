-- Amounts in requests, tokens or nano-dollars. Counts what was used while nobody could be asked, and replaces what holds
-- took by what was used, each once. Batches are numbered by their owner, who sends one until it is answered: the last
-- number stands in his mark, with the answer.
-- ARGV: the owner's mark, the batch's number; since when this server has counted, as far as he knows, or 0; how many
-- charges, for each subject, kind, period, cost; for each hold:
-- name, how many subjects, which; how many costs, the costs in the order of its demands.
-- Returns, by their numbers, charges before holds, 1, 2, …: which holds are unknown; and, below zero, of what a part
-- could not be counted, as the counter can't be read. All else is counted.
-- Or, if it has forgotten what the owner knows, since when it has counted; then it did nothing.
local since = began()
if ARGV[3] ~= '0' and tonumber(ARGV[3]) ~= since then
  return since
end
local heard = redis.call('HGET', LOST, ARGV[1])
if heard and batch_in(heard) >= tonumber(ARGV[2]) then
  local answer = {}
  for word in string.gmatch(heard, ' (-?%d+)') do
    answer[#answer + 1] = tonumber(word)
  end
  return answer
end
-- What can fail does so before anything else is written.
redis.call('ZCARD', ENDS)
if not heard then
  redis.call('ZADD', FORGOTTEN, now + MONTHS, ARGV[1])
end
for index = 1, #KEYS - SHARED do
  subject(index)
end
local at = 5
local number = tonumber(ARGV[4])
local exceptions = {}
for charge = 1, number do
  local of = subject(tonumber(ARGV[at]))
  if not add(of, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])) then
    exceptions[#exceptions + 1] = -charge
  end
  at = at + 4
end
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
    exceptions[#exceptions + 1] = number
  else
    local each, whole = costs, true
    for index, kind, where, cost in parts(record) do
      each, kind, cost = each + 1, tonumber(kind), live and tonumber(cost) or 0
      local used = kind == CONCURRENT and 0 or tonumber(ARGV[each])
      local name = names[tonumber(index)]
      -- A record that somebody else damaged must not hold up those of others.
      if name and used and kind ~= 0 and used ~= cost then
        whole = add(subject(name), kind, tonumber(where), used - cost) and whole
      end
    end
    if not whole then
      exceptions[#exceptions + 1] = -number
    end
  end
  at = costs + 1 + tonumber(ARGV[costs])
end
local said = #exceptions == 0 and ARGV[2] or ARGV[2] .. ' ' .. table.concat(exceptions, ' ')
redis.call('HSET', LOST, ARGV[1], said)
save_all()
return exceptions
