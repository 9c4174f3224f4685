"""The Lua scripts that change a cluster's state in Redis, each in one step, by Redis' own clock.

KEYS: settings, members, leases, tokens. Times are µs. A member is `NAME@PROCESS`.

- settings: `BORN TEXT`; BORN is the time when they were stored.
- members: NAME -> `ID INSTANCE EXPIRES LEAVING FACTS`.
- leases: SLOT -> `ID TOKEN EXPIRES READ_UNTIL NEXT NEXT_UNTIL`; NEXT is `-` or the member that is about to take over. ID is `-`
  once the lease was given up.
- tokens: the newest token. A token is never below Redis' clock, so tokens grow even if Redis loses its data.
"""

from __future__ import annotations

KEPT_S = 7 * 86_400  # the keys expire after this time without a beat of any member

OPENING = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local function whole(number) return string.format('%.0f', number) end
local function member_of(name)
  local row = redis.call('HGET', KEYS[2], name)
  if not row then return nil end
  local id, instance, expires, leaving, facts = string.match(row, '^(%S+) (%S+) (%d+) (%d) (.*)$')
  if not id then return nil end
  return {id = id, instance = instance, expires = tonumber(expires), leaving = leaving, facts = facts}
end
local function lease_of(slot)
  local row = redis.call('HGET', KEYS[3], slot)
  if not row then return nil end
  local id, token, expires, read, next, next_until = string.match(row, '^(%S+) (%d+) (%d+) (%d+) (%S+) (%d+)$')
  if not id then return nil end
  return {id = id, token = tonumber(token), expires = tonumber(expires), read = tonumber(read), next = next,
          next_until = tonumber(next_until)}
end
local function put(slot, lease)
  redis.call('HSET', KEYS[3], slot, lease.id .. ' ' .. whole(lease.token) .. ' ' .. whole(lease.expires) .. ' ' ..
             whole(lease.read) .. ' ' .. lease.next .. ' ' .. whole(lease.next_until))
end
local function new_token(floor)
  local token = math.max(tonumber(redis.call('GET', KEYS[4]) or '0') + 1, floor + 1, now)
  redis.call('SET', KEYS[4], whole(token))
  return token
end
local function grant(slot, id, floor, lease_us, read)
  local token = new_token(floor)
  put(slot, {id = id, token = token, expires = now + lease_us, read = read, next = '-', next_until = 0})
  return token
end
local function name_of(id) return string.match(id, '^[^@]+') end
"""

# ARGV: id, lease, floor, first, leaving, instance, settings, facts, then slot, token, read_until of each lease
BEAT = OPENING + """
local id, lease_us, floor, first = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local name, others, names = name_of(id), false, redis.call('HKEYS', KEYS[2])
for _, known in ipairs(names) do
  local member = member_of(known)
  if not member or member.expires <= now then redis.call('HDEL', KEYS[2], known)
  elseif known ~= name then others = true end
end
local own = member_of(name)
if first and own and own.id ~= id and own.instance ~= ARGV[6] then return {'name', own.facts} end
local superseded = not first and own and own.id ~= id
local born, stored = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (.*)$')
if stored ~= ARGV[7] and not superseded then
  if stored and others then return {'settings', stored} end
  if stored then redis.call('DEL', KEYS[3]) end
  born = whole(now)
  redis.call('SET', KEYS[1], born .. ' ' .. ARGV[7])
end
if not superseded then
  redis.call('HSET', KEYS[2], name, id .. ' ' .. ARGV[6] .. ' ' .. whole(now + lease_us) .. ' ' .. ARGV[5] .. ' ' .. ARGV[8])
end
local tokens = {}
for index = 9, #ARGV, 3 do
  local slot, token, read = ARGV[index], tonumber(ARGV[index + 1]), tonumber(ARGV[index + 2])
  local lease = lease_of(slot)
  if not lease then
    token = grant(slot, id, math.max(floor, token), lease_us, read)
  elseif lease.id == id and lease.token == token then
    lease.expires, lease.read = now + lease_us, math.max(lease.read, read)
    put(slot, lease)
  elseif lease.token < token then
    put(slot, {id = id, token = token, expires = now + lease_us, read = math.max(lease.read, read), next = '-', next_until = 0})
  else
    token = 0
  end
  tokens[#tokens + 1] = whole(token)
end
for index = 1, 4 do redis.call('EXPIRE', KEYS[index], KEPT_S) end
return {'in', whole(now), born or '0', superseded and 1 or 0, tokens, redis.call('HGETALL', KEYS[2]),
        redis.call('HGETALL', KEYS[3])}
""".replace("KEPT_S", str(KEPT_S))

# ARGV: id, lease, floor, then kind, slot, moment of each step. Kinds:
#   free   take a slot that nobody holds
#   claim  become the next reader of a slot that another member holds
#   hand   take a slot as its next reader; the holder must have everything up to the moment
#   know   store up to when a slot was durable, if Redis does not know it
TAKE = OPENING + """
local id, lease_us, floor = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local own, found = member_of(name_of(id)), {}
local inside = own and own.id == id and own.expires > now
for index = 4, #ARGV, 3 do
  local kind, slot, moment = ARGV[index], ARGV[index + 1], tonumber(ARGV[index + 2])
  local lease = lease_of(slot)
  local read, before = lease and lease.read or 0, lease and lease.id or '-'
  local held = lease and lease.expires > now
  local next_mine = lease and lease.next == id and lease.next_until > now
  local answer, token = 'held', 0
  if not inside then answer = 'outside'
  elseif kind == 'know' then
    if not lease then lease = {id = '-', token = 0, expires = 0, read = 0, next = '-', next_until = 0} end
    if lease.read == 0 or lease.id == '-' then
      lease.read = math.max(lease.read, moment)
      put(slot, lease)
    end
  elseif kind == 'free' then
    if not held then answer, token = 'taken', grant(slot, id, floor, lease_us, read) end
  elseif not held then answer = 'free'
  elseif kind == 'claim' then
    if lease.id ~= id and (next_mine or lease.next == '-' or lease.next_until <= now) then
      lease.next, lease.next_until = id, now + lease_us
      put(slot, lease)
      answer = 'claimed'
    end
  elseif next_mine and lease.read >= moment then
    answer, token = 'taken', grant(slot, id, floor, lease_us, read)
  end
  found[#found + 1] = {answer, whole(token), whole(read), before}
end
return found
"""

# ARGV: id, leave, then slot, token, read_until of each lease. Returns how many were not held any more.
RELEASE = OPENING + """
local id, late = ARGV[1], 0
for index = 3, #ARGV, 3 do
  local lease = lease_of(ARGV[index])
  if lease and lease.id == id and lease.token == tonumber(ARGV[index + 1]) then
    lease.id, lease.expires, lease.read = '-', 0, math.max(lease.read, tonumber(ARGV[index + 2]))
    put(ARGV[index], lease)
  elseif lease then late = late + 1 end
end
local own = member_of(name_of(id))
if ARGV[2] == '1' and own and own.id == id then redis.call('HDEL', KEYS[2], name_of(id)) end
return late
"""

# ARGV: id, slot, token, ttl in ms, value. KEYS[5]: the key to set. Returns 1 if the token is still the newest.
WRITE = OPENING + """
local lease = lease_of(ARGV[2])
if not (lease and lease.id == ARGV[1] and lease.token == tonumber(ARGV[3]) and lease.expires > now) then return 0 end
redis.call('SET', KEYS[5], ARGV[5], 'PX', ARGV[4])
return 1
"""

LOOK = """
local time = redis.call('TIME')
return {time[1], time[2], redis.call('GET', KEYS[1]) or '', redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[3])}
"""
