"""Joins the members' health rows into one row per venue, because a sink keeps one row per venue and minute.

Each member stores its rows in Redis once a minute and gets those of all; the leader writes them, joined.
`PREFIX:{cluster:NAME}:health` is a hash: member -> time by Redis' clock (s) and its rows as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from pumpwatch.cluster.leases import RedisCalls

FRESH_S = 90  # older rows belong to a member that has died or stopped
KEPT_S = 300
WITHIN_S = 1.0
# ARGV: member, its rows, for how many seconds rows are fresh. Returns name and rows of each member with fresh rows.
EXCHANGE = """
local now = tonumber(redis.call('TIME')[1])
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now) .. ' ' .. ARGV[2])
redis.call('EXPIRE', KEYS[1], KEPT_S)
local found, stored = {}, redis.call('HGETALL', KEYS[1])
for index = 1, #stored, 2 do
  local at, rows = string.match(stored[index + 1], '^(%d+) (.*)$')
  if at and tonumber(at) > now - tonumber(ARGV[3]) then
    found[#found + 1] = stored[index]
    found[#found + 1] = rows
  else redis.call('HDEL', KEYS[1], stored[index]) end
end
return found
""".replace("KEPT_S", str(KEPT_S))


class HealthRow(msgspec.Struct, frozen=True):
    """A venue's row as one member sees it, see `Sink.write_health`."""

    exchange: str
    market_type: str
    connections: int
    trades: int
    lag_ms: float | None
    gaps: int
    status: str
    last_trade_time: int
    message_count: int
    error_message: str


class VenueHealth:
    """The rows of all members. `exchange` may raise RedisUnavailable."""

    def __init__(self, redis: RedisCalls, cluster: str, member: str) -> None:
        self._redis, self._member, self._script = redis, member, redis.script(EXCHANGE)
        self._key = f"{redis.prefix}:{{cluster:{cluster}}}:health"

    def exchange(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Store the rows of this member; return one row for each venue, from all members with fresh rows."""
        body = msgspec.json.encode(list(rows))
        answer = self._redis.call("health rows", lambda client: self._script(client, [self._key], [self._member, body, FRESH_S]),
                                  within_s=WITHIN_S)
        found: dict[str, list[HealthRow]] = {}
        for name, content in zip(answer[::2], answer[1::2], strict=True):
            try:
                found[name.decode()] = msgspec.json.decode(content, type=list[HealthRow])
            except msgspec.DecodeError:
                continue  # of another version
        return joined(found)


def joined(rows: Mapping[str, Iterable[HealthRow]]) -> list[dict[str, Any]]:
    """Return one row for each venue. rows: by member.

    Counts are added, so a trade that two members read counts twice. A lag is the longest, and a problem names its member.
    """
    venues: dict[tuple[str, str], dict[str, HealthRow]] = {}
    for member in sorted(rows):
        for row in rows[member]:
            venues.setdefault((row.exchange, row.market_type), {})[member] = row
    return [_join(*venue, parts) for venue, parts in sorted(venues.items())]


def _join(exchange: str, market_type: str, parts: Mapping[str, HealthRow]) -> dict[str, Any]:
    rows = list(parts.values())
    lags = [row.lag_ms for row in rows if row.lag_ms is not None]
    return {"exchange": exchange, "market_type": market_type, "connections": sum(row.connections for row in rows),
            "trades": sum(row.trades for row in rows), "lag_ms": max(lags) if lags else None,
            "gaps": sum(row.gaps for row in rows), "status": _status([row.status for row in rows]),
            "last_trade_time": max(row.last_trade_time for row in rows), "message_count": sum(row.message_count for row in rows),
            "error_message": "; ".join(f"{member}: {row.error_message}" for member, row in parts.items() if row.error_message)}


def _status(states: Sequence[str]) -> str:
    """Return the state of a venue. A member without connection and problem reads nothing of it, and does not count."""
    if "degraded" in states or ("error" in states and "connected" in states):
        return "degraded"
    return next((state for state in ("connected", "error") if state in states), "disconnected")
