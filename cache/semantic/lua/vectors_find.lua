-- KEYS: any name in the slot of the index. ARGV: the index.
-- Returns 1 if it is there, 0 if it is not, -1 if this server searches nothing.
local found = redis.pcall('FT.INFO', ARGV[1])
if not found.err then
  return 1
end
return string.find(string.lower(found.err), 'unknown %a* ?command') and -1 or 0
