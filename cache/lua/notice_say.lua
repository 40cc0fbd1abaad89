-- Numbers a notice and keeps it with the last thousand. The time is this server's, in seconds since the epoch.
-- KEYS: counter, stream. ARGV: the notice, a number to begin with where there is none yet.
-- Returns the number and the time.
if redis.call('HSETNX', KEYS[1], 'first', ARGV[2]) == 1 then
  redis.call('HSET', KEYS[1], 'last', ARGV[2])
end
local now = redis.call('TIME')
local at = string.format('%d.%06d', now[1], now[2])
local number = redis.call('HINCRBY', KEYS[1], 'last', 1)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 1000, '*', 'number', string.format('%.0f', number), 'at', at, 'notice', ARGV[1])
return {number, at}
