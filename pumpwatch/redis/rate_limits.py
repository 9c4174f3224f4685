"""A rate limit over a sliding window that all processes and hosts share: one script in Redis counts and adds in one step.

The rules are those of `pumpwatch/net/sliding_window.py`. The time is Redis' own, so the hosts' clocks do not matter. A window is
one hash of at most SLOTS + 5 short fields, which expires as a whole. After a fail-over the new master may not know the last
grants of the old one, because Redis replicates after answering.
"""

from __future__ import annotations

import math

from pumpwatch.net.sliding_window import SLOTS, RateVerdict
from pumpwatch.redis.connection import RedisConnection

TAG_FREE = str.maketrans("{}", "()")  # a brace inside a hash tag would end it
PATIENCE_S = 0.05

CLOCK = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
"""

# KEYS[1]: the window. ARGV: limit, length in µs, wanted weight, least weight.
# Returns the granted weight, the remaining weight, the µs to wait, the µs until the whole limit is available, and the time.
TAKE = CLOCK + f"""
local SLOTS = {SLOTS}
""" + """
local limit, wanted, least = tonumber(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
local width = math.ceil(tonumber(ARGV[2]) / SLOTS)
local key, slot = KEYS[1], math.floor(now / width)
local state = redis.call('HMGET', key, 'first', 'last', 'total', 'held', slot)
local first, last, total, held = tonumber(state[1]), tonumber(state[2]), tonumber(state[3]), tonumber(state[4]) or 0

if first and last > slot + SLOTS + 1 then  -- the clock was set back by more than a window
  redis.call('DEL', key)
  first, held = nil, 0
elseif first and last + SLOTS < slot then
  redis.call('DEL', key)
  if held > now then
    redis.call('HSET', key, 'held', held)
    redis.call('PEXPIRE', key, math.ceil((held - now) / 1000))
  end
  first = nil
end
local known = first
if not first then
  first, last, total = slot, slot, 0
elseif slot < last then  -- the clock was set back a little: time stands still
  slot = last
  now = slot * width
  state[5] = redis.call('HGET', key, slot)
end

local gone = slot - SLOTS - 1
if first <= gone then
  local fields = {}
  for number = first, gone do
    fields[#fields + 1] = number
  end
  for _, weight in ipairs(redis.call('HMGET', key, unpack(fields))) do
    total = total - (tonumber(weight) or 0)
  end
  redis.call('HDEL', key, unpack(fields))
  first = gone + 1
  redis.call('HSET', key, 'first', first, 'total', total)
end

local room = limit - total
if held > now then
  return {0, math.max(0, room), held - now, math.max(held, (last + SLOTS + 1) * width) - now, now}
end
if room >= least then
  local granted = math.min(wanted, room)
  if granted > 0 then
    total = total + granted
    if known and last == slot then  -- the usual case: one write to replicate
      redis.call('HSET', key, slot, (tonumber(state[5]) or 0) + granted, 'total', total)
    else
      redis.call('HSET', key, slot, granted, 'first', first, 'last', slot, 'total', total)
      redis.call('PEXPIRE', key, math.ceil((SLOTS + 2) * width / 1000))
    end
    last = slot
  end
  return {granted, math.max(0, limit - total), 0, total > 0 and (last + SLOTS + 1) * width - now or 0, now}
end

local over, from = least - room, last
local fields = {}
for number = first, last do
  fields[#fields + 1] = number
end
for index, weight in ipairs(redis.call('HMGET', key, unpack(fields))) do
  over = over - (tonumber(weight) or 0)
  if over <= 0 then
    from = fields[index]
    break
  end
end
return {0, math.max(0, room), (from + SLOTS + 1) * width - now, (last + SLOTS + 1) * width - now, now}
"""

# KEYS[1]: the window. ARGV: µs in which nothing is granted.
HOLD = CLOCK + """
local held = math.max(now + tonumber(ARGV[1]), tonumber(redis.call('HGET', KEYS[1], 'held')) or 0)
redis.call('HSET', KEYS[1], 'held', held)
redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), math.ceil((held - now) / 1000)))
return held - now
"""

# KEYS[1]: the members of an address. ARGV: a member, µs for which it counts. Returns the number of members.
APPEAR = CLOCK + """
local lasts = tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - lasts)
redis.call('ZREMRANGEBYSCORE', KEYS[1], now + lasts, '+inf')
redis.call('PEXPIRE', KEYS[1], math.ceil(lasts / 1000))
return redis.call('ZCARD', KEYS[1])
"""


def tagged(prefix: str, kind: str, *parts: str, rest: str = "") -> str:
    """Return a key whose hash tag names the kind and the parts; all keys of one tag are on one node."""
    tag = ":".join((kind, *(part.translate(TAG_FREE) for part in parts)))
    return f"{prefix}:{{{tag}}}{rest}"


def _of_length(key: str, window_s: float) -> str:
    """Return the key of a window of that length, so that processes with different lengths do not mix their slots."""
    return f"{key}:{window_s:g}"


class SharedWindows:
    """Sliding windows in Redis. Every method except `hold` blocks the calling greenlet, for at most `patience_s`.

    It raises RedisUnavailable if Redis does not answer in time; the weight may have been counted all the same.
    """

    def __init__(self, connection: RedisConnection, patience_s: float = PATIENCE_S) -> None:
        self._connection, self._patience_s = connection, patience_s
        self._take, self._hold, self._appear = (connection.script(source) for source in (TAKE, HOLD, APPEAR))

    @property
    def prefix(self) -> str:
        """Return the prefix of every key."""
        return self._connection.prefix

    def take(self, operation: str, key: str, limit: int, window_s: float, weight: int = 1,
             least: int | None = None) -> RateVerdict:
        """Count up to `weight` within the limit, or nothing if less than `least` of it is left (None: all of it).

        Raises ValueError for a `least` above the limit, which could never be granted.
        """
        least = weight if least is None else least
        if not 0 <= least <= min(weight, limit):
            raise ValueError(f"a weight of {least} is never within a limit of {limit}")
        keys, arguments = [_of_length(key, window_s)], [limit, math.ceil(window_s * 1e6), weight, least]
        granted, remaining, wait_us, reset_us, _ = self._connection.call(
            operation, lambda client: self._take(client, keys, arguments), self._patience_s)
        return RateVerdict(granted, limit, remaining, wait_us / 1e6, reset_us / 1e6)

    def hold(self, operation: str, key: str, window_s: float, seconds: float) -> None:
        """Grant nothing to any process for `seconds`. Returns at once; it has no effect while Redis is away."""
        keys, held_us = [_of_length(key, window_s)], math.ceil(seconds * 1e6)
        self._connection.post(operation, lambda client: self._hold(client, keys, [held_us]))

    def count_member(self, operation: str, key: str, member: str, lasts_s: float) -> int:
        """Count a member for `lasts_s`, and return the number of members."""
        arguments: tuple[str, int] = (member, math.ceil(lasts_s * 1e6))
        return int(self._connection.call(operation, lambda client: self._appear(client, [key], arguments), self._patience_s))


class SharedApiLimit:
    """The API's limit on requests of a client, across all collectors with the same Redis."""

    def __init__(self, windows: SharedWindows) -> None:
        self._windows = windows

    def take(self, client: str, limit: int, window_s: float) -> RateVerdict:
        """Count a request if it is within the limit. Raises RedisUnavailable."""
        return self._windows.take("limit", tagged(self._windows.prefix, "limit", "api", client), limit, window_s)
