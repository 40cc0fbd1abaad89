-- Amounts in requests or nano-dollars. Raises counters of the present period to what others remember.
-- ARGV, for each: subject, kind, used.
-- Returns how many were too low. What can't be read is left.
local raised = 0
for at = 1, #ARGV, 3 do
  local of, kind, used = subject(tonumber(ARGV[at])), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local found, period = meter(of, kind), period_of(kind)
  local low = found and used - found[begin(found, period)] or 0
  if low > 0 then
    add(of, kind, period, low)
    raised = raised + 1
  end
end
save_all()
return raised
