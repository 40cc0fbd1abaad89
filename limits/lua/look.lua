-- Amounts in requests or nano-dollars, times in milliseconds.
-- ARGV: subject and kind of each counter.
-- Returns since when this server has counted; for each, what is used of its present period, or -1 where it can't be
-- read, and what is left of that.
local answer = {began()}
for at = 1, #ARGV, 2 do
  local kind = tonumber(ARGV[at + 1])
  local found = meter(subject(tonumber(ARGV[at])), kind)
  answer[#answer + 1] = found and found[begin(found, period_of(kind))] or -1
  answer[#answer + 1] = left_of(kind)
end
return answer
