-- Times in milliseconds, amounts in requests, tokens or nano-dollars.
-- ARGV: name of the hold, its life, names of the subjects; the batch that its owner is telling, or 0; since when this
-- server has counted, as far as he knows, or 0; the hold that is refunded first: how many subjects, which, and its name, or 0 if there is none; then for each demand: subject, kind,
-- amount, burst, cost, "1" in shadow mode. In place of a burst a counter has what the owner has used, or holds, and is
-- still to tell: where there is a batch, what is not in it and what is.
-- Returns which demand is refused, or 0, and its wait; since when this server has counted; for each demand what remains and the time until all of it is
-- there again; and then which demands were over a limit in shadow mode. Fails where a counter can't be read.
-- -1 in place of a demand: it has forgotten what its owner knows, and did nothing.
local since = began()
if ARGV[5] ~= '0' and tonumber(ARGV[5]) ~= since then
  return {-1, 0, since}
end

local function wait_for(found, kind, amount, burst, cost)
  local need = cost == 0 and 1 or cost
  if kind <= 2 then
    refill(found, amount)
    local over = found[1] + (need - burst) * UNIT
    if over <= 0 then
      return 0
    end
    return (need > burst or amount <= 0) and NEVER or math.ceil(over / amount)
  end
  if found[begin(found, period_of(kind))] + burst + need <= amount then
    return 0
  end
  return need <= amount and left_of(kind) or NEVER
end

local function figures(found, kind, amount, burst)
  if kind <= 2 then
    local reset = amount > 0 and math.ceil(found[1] / amount) or (found[1] == 0 and 0 or NEVER)
    return math.max(0, math.floor((burst * UNIT - found[1]) / UNIT)), reset
  end
  return math.max(0, amount - burst - found[begin(found, period_of(kind))]), kind == CONCURRENT and 0 or left_of(kind)
end

local unsure = ARGV[4] ~= '0'
local told = false
if unsure then
  local mark = redis.call('HGET', LOST, string.match(ARGV[1], '^(.*):') .. ':told')
  told = batch_in(mark) >= tonumber(ARGV[4])
end

local function owed(kind, word)
  if kind <= 2 then
    return tonumber(word)
  end
  local waits, sent = string.match(word, '(%d+) (%d+)')
  return told and tonumber(waits) or waits + sent
end

local last, FIRST = places(6)
local WORDS = 6
local instead, held
if #last > 0 then
  instead = ARGV[FIRST]
  FIRST = FIRST + 1
  -- As if it had never been; nothing, where it has been given back before. It ends below, when nothing can fail.
  held = redis.call('HGET', HOLDS, instead)
  if held then
    apply(held, last, -1)
  end
end
local refused, worst, over, taken = 0, 0, {}, {}
for at = FIRST, #ARGV, WORDS do
  local index, kind, amount, cost = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), ARGV[at + 4]
  local of, number = subject(index), (at - FIRST) / WORDS + 1
  local burst = unsure and owed(kind, ARGV[at + 3]) or tonumber(ARGV[at + 3])
  local found = meter(of, kind)
  if not found then
    return redis.error_reply('ERR a counter cannot be read')
  end
  local wait = wait_for(found, kind, amount, burst, tonumber(cost))
  if wait == 0 then
    local where = kind <= 2 and amount or period_of(kind)
    add(of, kind, where, tonumber(cost))
    taken[number] = string.format('%d %d %.0f %s', index, kind, where, cost)
  else
    taken[number] = '1 0 0 0'
    if ARGV[at + 5] == '1' then
      over[#over + 1] = number
    elseif refused == 0 or (worst ~= NEVER and (wait == NEVER or wait > worst)) then
      refused, worst = number, wait
    end
  end
end

if held then
  redis.call('ZREM', ENDS, instead)
  redis.call('HDEL', HOLDS, instead)
elseif instead then
  redis.call('HDEL', LOST, instead)
end
local record = table.concat(taken, ' ')
if refused == 0 then
  redis.call('ZADD', ENDS, now + ARGV[2], ARGV[1])
  redis.call('HSET', HOLDS, ARGV[1], record .. '\n' .. ARGV[3])
else
  local same = {}
  for index in pairs(subjects) do
    same[index] = index
  end
  apply(record, same, -1)
end

local answer = {refused, worst, since}
for at = FIRST, #ARGV, WORDS do
  local kind = tonumber(ARGV[at + 1])
  local found = meter(subject(tonumber(ARGV[at])), kind)
  local size = #answer
  local burst = unsure and owed(kind, ARGV[at + 3]) or tonumber(ARGV[at + 3])
  answer[size + 1], answer[size + 2] = figures(found, kind, tonumber(ARGV[at + 2]), burst)
end
for _, number in ipairs(over) do
  answer[#answer + 1] = number
end
-- A refusal leaves nothing of what was not there before: whoever makes names up fills nobody's memory. What was there
-- is saved, as the clock may have gone back, and then time counts from here on.
if refused ~= 0 then
  for _, of in pairs(subjects) do
    for kind in pairs(of.meters) do
      if not of.said[kind] then
        of.meters[kind] = nil
      end
    end
  end
end
save_all()
return answer
