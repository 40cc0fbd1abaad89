-- Times in milliseconds of this server's clock, amounts in requests, tokens or nano-dollars; a bucket counts what is
-- missing from it in 1/60,000 of a token. Stands before each of the other scripts; the sums are those of bucket.py and
-- budget.py.
-- KEYS: when holds end (sorted set), holds (hash), holds that ended without their owner (hash; there are the owners'
-- marks as well, and since when there is anything), when those are forgotten (sorted set), and the state of each subject: a hash of meters by the code of their kind (1, 2: missing, at;
-- 3 to 7: used, period, used before, period before) and of the last `day` on which it was used.
-- A hold is a record: for each demand its subject (1, 2, …), kind or 0, rate or period, and cost; on a line of its own,
-- the subjects' names, for its owner.
local UNIT = 60000
local LARGEST = 9007199254740991
local MOST = 1e18
local DAY = 86400000
local MONTHS = 64 * DAY
local DAYS = 3 * DAY
local LATE = 3600000
local NEVER = -1
local FREED_SOON = 1000
local DAILY, CONCURRENT, SPEND_DAY, SPEND_MONTH, SPEND = 3, 4, 5, 6, 7
local ENDS, HOLDS, LOST, FORGOTTEN, SHARED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], 4

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local day = math.floor(now / DAY)

-- https://howardhinnant.github.io/date_algorithms.html
local function month_of(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 2 or mp - 10
  return (yoe + era * 400 + (month < 2 and 1 or 0)) * 12 + month
end

local function first_day(month)
  local y, m = math.floor(month / 12), month % 12
  if m < 2 then
    y = y - 1
  end
  local era = math.floor(y / 400)
  local yoe = y - era * 400
  local doy = math.floor((153 * (m < 2 and m + 10 or m - 2) + 2) / 5)
  return era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
end

local month

local function period_of(kind)
  if kind == DAILY or kind == SPEND_DAY then
    return day
  end
  if kind == SPEND_MONTH then
    month = month or month_of(day)
    return month
  end
  return 0
end

-- Milliseconds until a full counter has room again.
local function left_of(kind)
  if kind == CONCURRENT then
    return FREED_SOON
  end
  if kind == SPEND then
    return NEVER
  end
  return (kind == SPEND_MONTH and first_day(period_of(kind) + 1) or day + 1) * DAY - now
end

-- Since when this server has counted. Who knows of another time knows of counters that it has forgotten.
local function began()
  local known = tonumber(redis.call('HGET', LOST, 'began') or '')
  if not known then
    known = now
    redis.call('HSET', LOST, 'began', string.format('%.0f', now))
  end
  return known
end

local subjects = {}

local function subject(index)
  local found = subjects[index]
  if not found then
    local key = KEYS[SHARED + index]
    local said = redis.pcall('HMGET', key, '1', '2', '3', '4', '5', '6', '7', 'day')
    if said.err then
      -- A key of another type has no meters; of anything else the call dies.
      if not string.find(said.err, 'WRONGTYPE', 1, true) then
        redis.call('HLEN', key)
      end
      said = nil
    end
    found = {key = key, said = said, meters = {}}
    subjects[index] = found
  end
  return found
end

-- Nil for what no script wrote, as nothing above MOST is. It stays as it is, and holds up no other.
local function meter(of, kind)
  local found = of.meters[kind]
  if found then
    return found
  end
  if not of.said or kind > SPEND then
    return nil
  end
  local text = of.said[kind]
  if not text then
    found = kind <= 2 and {0, now} or {0, period_of(kind), 0, -1}
  elseif kind <= 2 then
    local missing, at = string.match(text, '^(%d+) (%d+)$')
    found = missing and {tonumber(missing), tonumber(at)}
  else
    local used, period, used_before, period_before = string.match(text, '^(%d+) (%d+) (%d+) (-?%d+)$')
    found = used and {tonumber(used), tonumber(period), tonumber(used_before), tonumber(period_before)}
  end
  if not found or math.max(unpack(found)) > MOST then
    return nil
  end
  of.meters[kind] = found
  return found
end

-- Reads what can fail, so that it does before anything is written: a script does all that it is to do, or nothing.
local function read_all()
  redis.call('ZCARD', ENDS)
  redis.call('HLEN', HOLDS)
  redis.call('HLEN', LOST)
  redis.call('ZCARD', FORGOTTEN)
  for index = 1, #KEYS - SHARED do
    subject(index)
  end
end

local function refill(bucket, rate)
  local elapsed = now - bucket[2]
  bucket[2] = now
  if elapsed > 0 then
    bucket[1] = math.max(0, bucket[1] - elapsed * rate)
  end
end

-- Where in the counter what was used in this period stands.
local function begin(counter, period)
  if period == counter[2] then
    return 1
  end
  if period == counter[4] then
    return 3
  end
  if period > counter[2] then
    counter[3], counter[4] = counter[1], counter[2]
    counter[1], counter[2] = 0, period
    return 1
  end
  counter[3], counter[4] = 0, period
  return 3
end

-- Takes, or gives back if it is negative. `where` is the rate of a bucket, the period of a counter. Returns whether
-- the meter can be read; one that can't is left.
local function add(of, kind, where, cost)
  local found = meter(of, kind)
  if not found then
    return false
  end
  if kind <= 2 then
    refill(found, where)
    found[1] = math.min(LARGEST, math.max(0, found[1] + cost * UNIT))
  elseif where >= found[2] or where == found[4] then
    local at = begin(found, where)
    found[at] = math.min(MOST, math.max(0, found[at] + cost))
  end
  return true
end

-- Subject, kind, rate or period, cost of each demand.
local function parts(record)
  return string.gmatch(string.match(record, '^[^\n]*'), '(%d+) (%d+) (%d+) (%d+)')
end

-- Takes what a record says (`sign` 1), or gives it back (-1); `names` are the subjects' places among ours.
local function apply(record, names, sign)
  for index, kind, where, cost in parts(record) do
    local name = names[tonumber(index)]
    -- A record that somebody else damaged names nobody.
    if name and kind ~= '0' then
      add(subject(name), tonumber(kind), tonumber(where), sign * cost)
    end
  end
end

-- The last batch that its owner has told, in his mark.
local function batch_in(mark)
  return tonumber(string.match(mark or '', '^%d+')) or 0
end

-- From ARGV[at]: how many subjects, and which. Returns them, and where the rest begins.
local function places(at)
  local found = {}
  for n = 1, tonumber(ARGV[at]) do
    found[n] = tonumber(ARGV[at + n])
  end
  return found, at + 1 + #found
end

-- A state that nobody uses for some days is forgotten; after two months if it counts for a month, and never if it
-- counts for all time.
local function save(of)
  local words = {}
  for kind, found in pairs(of.meters) do
    words[#words + 1] = kind
    if kind <= 2 then
      words[#words + 1] = string.format('%.0f %.0f', found[1], found[2])
    else
      words[#words + 1] = string.format('%.0f %.0f %.0f %.0f', found[1], found[2], found[3], found[4])
    end
  end
  local lasts, months = of.said[SPEND] or of.meters[SPEND], of.said[SPEND_MONTH] or of.meters[SPEND_MONTH]
  local longer = (lasts and not of.said[SPEND]) or (months and not of.said[SPEND_MONTH])
  if tonumber(of.said[8]) == day and not longer then
    redis.call('HSET', of.key, unpack(words))
    return
  end
  redis.call('HSET', of.key, 'day', day, unpack(words))
  if lasts then
    redis.call('PERSIST', of.key)
  else
    redis.call('PEXPIRE', of.key, months and MONTHS or DAYS)
  end
end

local function save_all()
  for _, of in pairs(subjects) do
    if next(of.meters) then
      save(of)
    end
  end
end
