-- Reads labels in their order. KEYS: name of the log, labels. ARGV: the name that is known, the id of the last that was
-- read, how many. Of a log of another name it reads from the beginning. Returns the name, '' for none, and the labels.
local name = redis.call('GET', KEYS[1]) or ''
local after = '-'
if name == ARGV[1] and ARGV[2] ~= '' then
  after = '(' .. ARGV[2]
end
return {name, redis.call('XRANGE', KEYS[2], after, '+', 'COUNT', ARGV[3])}
