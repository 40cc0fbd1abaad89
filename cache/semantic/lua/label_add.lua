-- Adds labels to the log, which is given a name where it has none.
-- KEYS: name of the log, labels, labels with their texts. ARGV: a name that nobody else makes, labels to keep, those
-- with texts to keep, then for each label: its numbers, the key of its entry, and all of it ('' if it has no texts).
redis.call('SET', KEYS[1], ARGV[1], 'NX')
for at = 4, #ARGV, 3 do
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'l', ARGV[at])
  if ARGV[at + 2] ~= '' then
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'k', ARGV[at + 1], 'l', ARGV[at + 2])
  end
end
return 1
