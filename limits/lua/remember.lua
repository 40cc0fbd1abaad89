-- Amounts in requests or nano-dollars. Gives back what this server has forgotten: of each counter the most that anybody
-- remembers, beside what was counted here since. Which is the most so far stands beside the counter.
-- ARGV, for each: subject, kind, used.
-- Returns how many were raised. What can't be read is left.
local raised = 0
for at = 1, #ARGV, 3 do
  local of, kind, used = subject(tonumber(ARGV[at])), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local found, period, field = meter(of, kind), period_of(kind), 'most' .. ARGV[at + 1]
  if found then
    local most, when = string.match(redis.call('HGET', of.key, field) or '', '^(%d+) (%d+)$')
    local before = tonumber(when) == period and tonumber(most) or 0
    if used > before then
      add(of, kind, period, used - before)
      redis.call('HSET', of.key, field, string.format('%.0f %.0f', used, period))
      raised = raised + 1
    end
  end
end
save_all()
return raised
