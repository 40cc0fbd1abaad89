-- Amounts in requests, tokens or nano-dollars. Replaces what holds took by what was used, each once.
-- ARGV, for each hold: name, how many subjects, which; how many costs, the costs in the order of its demands.
-- Returns which of them are unknown: 1, 2, …
local unknown = {}
local at, number = 1, 0
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
save_all()
return unknown
