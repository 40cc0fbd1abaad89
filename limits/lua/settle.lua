-- Amounts in requests, tokens or nano-dollars. Replaces what holds took by what was used, each once.
-- ARGV, for each hold: name, how many subjects, which; how many costs, the costs in the order of its demands.
-- Returns how many were known.
local known = 0
local at = 1
while at <= #ARGV do
  local id = ARGV[at]
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
  if record then
    known = known + 1
    local each = costs
    for index, kind, where, cost in parts(record) do
      each, kind, cost = each + 1, tonumber(kind), live and tonumber(cost) or 0
      local used = kind == CONCURRENT and 0 or tonumber(ARGV[each])
      if kind ~= 0 and used ~= cost then
        add(subject(names[tonumber(index)]), kind, tonumber(where), used - cost)
      end
    end
  end
  at = costs + 1 + tonumber(ARGV[costs])
end
save_all()
return known
