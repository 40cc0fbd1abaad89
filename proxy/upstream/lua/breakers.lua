-- What a worker says of its breakers, and what it hears of everybody's. Times in milliseconds of this server's clock.
-- KEYS: a hash for each upstream: epoch, state, author, due, openings, holder, held (until), wanter, wanted (until).
-- ARGV: the worker, for how long a lease lasts, for how long a hash is kept; then for each upstream: the epoch that the
-- worker has heard, its news ('', 'open', 'closed'), what is left of the cool-down, openings in a row (below 0: no
-- request has failed, probes alone found out), and whether it claims the lease ('', 'idle', 'keen').
-- Returns for each upstream: epoch, state, what is left of the cool-down, openings, whether this worker said so, whether
-- it has the lease, and whether another wants that (0 or 1).
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)
local worker, lease, kept = ARGV[1], tonumber(ARGV[2]), ARGV[3]

-- A time that lies further ahead was written before this server's clock went back.
local function lasts(till)
  till = tonumber(till or 0)
  return now < till and till <= now + lease
end

local function text(number)
  return string.format('%.0f', number)
end

local function put(key, ...)
  redis.call('HSET', key, ...)
  redis.call('PEXPIRE', key, kept)
end

local heard = {}
for i, key in ipairs(KEYS) do
  local known, news, left, openings, claim = unpack(ARGV, 5 * i - 1, 5 * i + 3)
  local epoch, before = unpack(redis.call('HMGET', key, 'epoch', 'state'))
  epoch, known = tonumber(epoch or 0), tonumber(known)
  -- News from somebody who has not heard the latest are late. A closing is news only where one was said to be open:
  -- or else it would hide the opening of another, who could not say so either. The time keeps epochs apart if all is
  -- forgotten.
  if known >= epoch and (news == 'open' or news == 'closed' and before == 'open') then
    epoch = math.max(known + 1, micros)
    put(key, 'epoch', text(epoch), 'state', news, 'author', worker, 'due', text(now + left), 'openings', openings)
  end
  local state, author, due, count, holder, held, wanter, wanted = unpack(
    redis.call('HMGET', key, 'state', 'author', 'due', 'openings', 'holder', 'held', 'wanter', 'wanted'))
  local mine = holder == worker
  if claim == '' then
    if mine and wanter and lasts(wanted) then
      put(key, 'holder', wanter, 'held', text(now + lease), 'wanted', 0)
    elseif mine then
      redis.call('HDEL', key, 'holder', 'held')
    end
    mine = false
  elseif mine or not holder or not lasts(held) then
    mine = true
    put(key, 'holder', worker, 'held', text(now + lease))
  elseif claim == 'keen' then
    put(key, 'wanter', worker, 'wanted', text(now + lease))
  end
  heard[i] = {epoch, state or '', math.max(0, tonumber(due or 0) - now), tonumber(count or 0),
    author == worker and 1 or 0, mine and 1 or 0, lasts(wanted) and 1 or 0}
end
return heard
