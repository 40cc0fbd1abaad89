-- Remembers what a question was served. KEYS: answers that it was. ARGV: key of the answer, milliseconds that the note of
-- it is kept.
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(redis.call('PTTL', KEYS[1]), ARGV[2])))
return 1
