-- Adds labels to the log, which is given a name where it has none; those of a writer whose answer was lost are not
-- added again. KEYS: name of the log, labels, labels with their texts, how many the writer has added. ARGV: a name that
-- nobody else makes, labels to keep, those with texts to keep, how many the writer knows of before these, milliseconds
-- to remember it, then for each label: its numbers, the key of its entry, and all of it ('' if it has no texts).
redis.call('SET', KEYS[1], ARGV[1], 'NX')
local before = tonumber(ARGV[4])
local there = math.max(0, tonumber(redis.call('GET', KEYS[4]) or 0) - before)
for at = 6 + 3 * there, #ARGV, 3 do
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'l', ARGV[at])
  if ARGV[at + 2] ~= '' then
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'k', ARGV[at + 1], 'l', ARGV[at + 2])
  end
end
redis.call('SET', KEYS[4], string.format('%.0f', before + math.max(there, (#ARGV - 5) / 3)), 'PX', ARGV[5])
return 1
