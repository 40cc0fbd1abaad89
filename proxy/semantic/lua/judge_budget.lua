-- What was spent on one day, in whole nano-dollars. KEYS: the day. ARGV: how much more (less, if it is negative), what
-- all of it may come to (nothing: what is to be given back or paid, whatever it comes to), milliseconds that it is kept.
-- Returns 1 if it counts now, 0 if that would be too much. A day that was forgotten is given nothing back.
local spent = tonumber(redis.call('GET', KEYS[1]) or 0)
local after = math.max(0, spent + ARGV[1])
if ARGV[2] ~= '' and after > tonumber(ARGV[2]) then
  return 0
end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', ARGV[3])
return 1
