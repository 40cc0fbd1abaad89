-- Gives a consumer its next entries of the stream: new ones, those that somebody has held for too long, or those that
-- it was given before and does not know of.
-- KEYS: stream, state, losses. ARGV: group, consumer, entries at most, milliseconds after which entries are taken from
-- others (0: new ones; -1: its own), milliseconds after which a consumer that holds nothing is forgotten, today as days since the
-- epoch.
-- Returns how many entries left the stream before anybody had added them up, and the entries.
local function lose(rows)
  if rows <= 0 then
    return 0
  end
  redis.call('HINCRBY', KEYS[3], ARGV[6], string.format('%.0f', rows))
  return rows
end

local function forget_idle()
  for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local known = {}
    for at = 1, #consumer, 2 do
      known[consumer[at]] = consumer[at + 1]
    end
    if known['pending'] == 0 and known['idle'] > tonumber(ARGV[5]) then
      redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], known['name'])
    end
  end
end

local function new_entries()
  return redis.pcall('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
end

if redis.call('EXISTS', KEYS[1]) == 0 then
  return {0, {}}
end
if ARGV[4] == '-1' then
  local own = redis.pcall('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '0')
  local there, gone = {}, 0
  for _, entry in ipairs(own and not own.err and own[1][2] or {}) do
    if entry[2] then
      there[#there + 1] = entry
    else
      gone = gone + redis.call('XACK', KEYS[1], ARGV[1], entry[1])
    end
  end
  return {lose(gone), there}
end
if ARGV[4] ~= '0' and redis.call('HEXISTS', KEYS[2], 'delivered') == 1 then
  forget_idle()
  local claimed = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[4], '0', 'COUNT', ARGV[3])
  return {lose(#(claimed[3] or {})), claimed[2]}
end

local read = new_entries()
if read and read.err then
  redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0')
  read = new_entries()
end
if not read then
  return {0, {}}
end

local entries = read[1][2]
local state = redis.call('HMGET', KEYS[2], 'added', 'delivered')
local added, delivered = tonumber(state[1] or 0), tonumber(state[2] or 0)
local first, last = tonumber(entries[1][2][2]), tonumber(entries[#entries][2][2])
if first > added then
  -- Counting began anew.
  delivered = first - 1
end
redis.call('HSET', KEYS[2], 'delivered', string.format('%.0f', last))
return {lose(first - delivered - 1), entries}
