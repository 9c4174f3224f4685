"""Tickers of venues that all processes and hosts share, and the last traded price of each instrument.

- `PREFIX:{ticker:VENUE:SYMBOL}`  MessagePack of a venue's ticker, for as long as it may be used.
- `PREFIX:{last:VENUE}`  a hash: symbol -> time (ns, 19 digits) and price of its newest trade. It expires five minutes after the
  last trade.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import REFUSALS
from pumpwatch.redis.cache_counts import CacheCounts
from pumpwatch.redis.connection import Client, RedisConnection
from pumpwatch.redis.errors import RedisUnavailable
from pumpwatch.redis.order_books import named, tagged
from pumpwatch.ticker import Ticker

LAST_S = 300  # the last prices of a venue are kept for this long after the newest one
# ARGV: the ticker, ms for which it may still be used. A stored ticker that may be used for longer is newer, and stays.
_PUT = """
if redis.call('PTTL', KEYS[1]) > tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
# ARGV: ttl in ms, then lines of symbol, time and price as one text, which costs the client less than many arguments. Values begin
# with the time in digits, so that the newer value is the greater text.
_PUT_PRICES = """
for symbol, value in string.gmatch(ARGV[2], '(%S+) (%S+ %S+)') do
  local old = redis.call('HGET', KEYS[1], symbol)
  if not old or old < value then redis.call('HSET', KEYS[1], symbol, value) end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""
# ARGV: symbols. Returns their values as lines of one text, empty for unknown symbols.
_READ = """
local found = redis.call('HMGET', KEYS[1], unpack(ARGV))
for i = 1, #found do found[i] = found[i] or '' end
return table.concat(found, '\\n')
"""


class SharedTickers:
    """Tickers of venues as a cache of the market data: an unreachable or invalid ticker counts as absent."""

    def __init__(self, redis: RedisConnection, ttl_s: float, clock: Clock) -> None:
        self._redis, self._ttl_s, self._clock, self._counts = redis, ttl_s, clock, CacheCounts(redis)
        self._put = redis.script(_PUT)
        self._decoder = msgspec.msgpack.Decoder(Ticker)

    def get(self, key: str) -> tuple[Ticker, int] | None:
        """Return a ticker and the time (ns) when it was stored; None if there is none, or if it is too old."""
        found = self._counts.read(lambda: self._read(self._key(key)), lambda found: found[1], self._ttl_s)
        return None if found is None else (found[0], self._clock.now_ns() - int(found[1] * NS_PER_S))

    def put(self, key: str, value: Ticker, at_ns: int) -> None:
        """Store a ticker of `at_ns` soon, in place of an older one."""
        left_ms = int((self._ttl_s - max(0.0, (self._clock.now_ns() - at_ns) / NS_PER_S)) * 1000)
        if left_ms > 0:
            body, name = msgspec.msgpack.encode(value), self._key(key)
            self._redis.post("put ticker", lambda client: self._put(client, [name], [body, left_ms]))

    def drop(self, key: str) -> None:
        """Forget a ticker, soon."""
        name = self._key(key)
        self._redis.post("drop ticker", lambda client: client.unlink(name))

    def figures(self) -> dict[str, float]:
        """Return hits, misses, failures, and the sum of the ages of all hits (hit_age_s)."""
        return self._counts.figures()

    def _key(self, key: str) -> str:
        venue, symbol = named(key)
        return f"{self._redis.prefix}:{{ticker:{venue}:{tagged(symbol)}}}"

    def _read(self, name: str) -> tuple[Ticker, float] | None:
        """Return a ticker and its age (s) by Redis' clock. Raises RedisUnavailable for an invalid ticker."""
        def both(client: Client) -> list[bytes | int | None]:
            pipe = client.pipeline(transaction=False)
            pipe.get(name)
            pipe.pttl(name)
            found: list[bytes | int | None] = pipe.execute()
            return found

        body, left_ms = self._redis.call("read ticker", both)
        if not isinstance(body, bytes) or not isinstance(left_ms, int) or left_ms < 0:
            return None
        try:
            return self._decoder.decode(body), max(0.0, self._ttl_s - left_ms / 1000)
        except REFUSALS as error:
            raise RedisUnavailable(f"redis: not a ticker: {error}", "wrong_type") from error


class LastPrices:
    """The newest trade of each instrument: its own time (ns, UTC) and price in the quote."""

    def __init__(self, redis: RedisConnection) -> None:
        self._redis, self._put, self._read = redis, redis.script(_PUT_PRICES), redis.script(_READ)

    def put(self, venue: str, prices: Mapping[str, tuple[int, float]]) -> None:
        """Store the newest trades of symbols soon; a stored trade that is newer stays."""
        lines = "\n".join([f"{symbol} {at_ns:019d} {price!r}" for symbol, (at_ns, price) in prices.items()])
        self._redis.post("put prices", lambda client: self._put(client, [self._key(venue)], [LAST_S * 1000, lines]))

    def of(self, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, float]]:
        """Return the newest trade of each (venue, symbol) that has one. Raises RedisUnavailable."""
        by_venue: dict[str, list[str]] = {}
        for venue, symbol in names:
            by_venue.setdefault(venue, []).append(symbol)

        def ask(client: Client) -> list[list[bytes]]:
            return [self._read(client, [self._key(venue)], symbols).split(b"\n") for venue, symbols in by_venue.items()]

        found = self._redis.call("read prices", ask)
        return {(venue, symbol): _decoded(value) for (venue, symbols), values in zip(by_venue.items(), found, strict=True)
                for symbol, value in zip(symbols, values, strict=True) if value}

    def _key(self, venue: str) -> str:
        return f"{self._redis.prefix}:{{last:{venue}}}"


def _decoded(value: bytes) -> tuple[int, float]:
    try:
        at_ns, price = value.split()
        return int(at_ns), float(price)
    except ValueError as error:
        raise RedisUnavailable(f"redis: not a price: {value[:60]!r}", "wrong_type") from error
