"""Order books that all processes and hosts share: whole books as venues answered them, the best prices; kept for a minute.

The keys of a book have one hash tag, so that a script or a pipeline may use all of them:

- `PREFIX:{book:VENUE:SYMBOL}:bids`, `:asks`  sorted sets of prices: each price is both score and member.
- `PREFIX:{book:VENUE:SYMBOL}:levels`  a hash: `b` or `a` with the price -> quantity; `at`, `sequence` and `put` are the book's
  own time (ns), its number, and Redis' time (µs) when it was stored.

A book is replaced as a whole. Its age is measured by Redis' clock.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import BadFrame
from pumpwatch.order_book import LEVELS, Level, OrderBook
from pumpwatch.redis.cache_counts import CacheCounts
from pumpwatch.redis.connection import Client, RedisConnection
from pumpwatch.redis.errors import RedisUnavailable

TTL_S = 60
_NOW = "local t = redis.call('TIME'); local now = t[1] * 1000000 + t[2]\n"
# ARGV: ttl in ms, the book's time, its number, its age in µs, then prices and quantities of the bids as one text, and of the
# asks: an argument costs the client more than a word costs Lua. A stored book that is newer stays.
_PUT = _NOW + """
local put = now - tonumber(ARGV[4])
local old = redis.call('HGET', KEYS[3], 'put')
if old and put < tonumber(old) then return 0 end
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
local levels = {'at', ARGV[2], 'sequence', ARGV[3], 'put', string.format('%.0f', put)}
for side = 1, 2 do
  local scores = {}
  for price, quantity in string.gmatch(ARGV[4 + side], '(%S+) (%S+)') do
    scores[#scores + 1] = price
    scores[#scores + 1] = price
    levels[#levels + 1] = (side == 1 and 'b' or 'a') .. price
    levels[#levels + 1] = quantity
  end
  if #scores > 0 then
    redis.call('ZADD', KEYS[side], unpack(scores))
    redis.call('PEXPIRE', KEYS[side], ARGV[1])
  end
end
redis.call('HSET', KEYS[3], unpack(levels))
redis.call('PEXPIRE', KEYS[3], ARGV[1])
return 1
"""
# ARGV: levels of a side. Returns age in µs, time, number, bids and asks: each side as JSON text, because each value of an answer
# costs the client 3 µs.
_READ = _NOW + """
local head = redis.call('HMGET', KEYS[3], 'put', 'at', 'sequence')
if not head[1] then return nil end
local answer = {string.format('%.0f', now - tonumber(head[1])), head[2], head[3]}
for side = 1, 2 do
  local prices = redis.call(side == 1 and 'ZREVRANGE' or 'ZRANGE', KEYS[side], 0, ARGV[1] - 1)
  local fields = {}
  for i = 1, #prices do fields[i] = (side == 1 and 'b' or 'a') .. prices[i] end
  local quantities = #fields > 0 and redis.call('HMGET', KEYS[3], unpack(fields)) or {}
  for i = 1, #prices do prices[i] = '[' .. prices[i] .. ',' .. (quantities[i] or 'lost') .. ']' end
  answer[#answer + 1] = '[' .. table.concat(prices, ',') .. ']'
end
return answer
"""
_LEVELS = msgspec.json.Decoder(list[Level])


class RedisOrderBooks:
    """The shared books by venue (`binance.spot`) and symbol. Every method may raise RedisUnavailable."""

    def __init__(self, redis: RedisConnection) -> None:
        self._redis = redis
        self._put, self._read = redis.script(_PUT), redis.script(_READ)

    def put(self, venue: str, symbol: str, book: OrderBook, age_s: float = 0.0) -> bool:
        """Store a whole book in place of an older one; return False if a newer one is stored."""
        return self._redis.call("put book", lambda client: self.put_by(client, venue, symbol, book, age_s))

    def put_by(self, client: Client, venue: str, symbol: str, book: OrderBook, age_s: float = 0.0) -> bool:
        """Do the same inside a function passed to `call` or `post`."""
        sides = (" ".join(text(number) for level in side for number in level) for side in (book.bids, book.asks))
        arguments = [TTL_S * 1000, book.at_ns, book.sequence, int(age_s * 1e6), *sides]
        return bool(self._put(client, self._keys(venue, symbol), arguments))

    def read(self, venue: str, symbol: str, depth: int = LEVELS) -> tuple[OrderBook, float] | None:
        """Return the best `depth` levels of each side and the age (s) of the book, or None if it is not stored."""
        found = self._redis.call("read book", lambda client: self._read(client, self._keys(venue, symbol), [depth]))
        return None if found is None else _decoded(found)

    def best(self, venue: str, symbol: str) -> tuple[Level | None, Level | None] | None:
        """Return the best bid and the best ask, each None for an empty side; None if the book is not stored."""
        found = self.read(venue, symbol, 1)
        if found is None:
            return None
        return next(iter(found[0].bids), None), next(iter(found[0].asks), None)

    def drop(self, venue: str, symbol: str) -> None:
        """Forget a book, soon."""
        self._redis.post("drop book", lambda client: client.unlink(*self._keys(venue, symbol)))

    def _keys(self, venue: str, symbol: str) -> list[str]:
        return [f"{self._redis.prefix}:{{book:{venue}:{tagged(symbol)}}}:{part}" for part in ("bids", "asks", "levels")]


class SharedBooks:
    """The shared books as a cache of the market data: an unreachable or invalid book counts as absent."""

    def __init__(self, redis: RedisConnection, ttl_s: float, clock: Clock) -> None:
        self._redis, self._books, self._ttl_s, self._clock = redis, RedisOrderBooks(redis), ttl_s, clock
        self._counts = CacheCounts(redis)

    def get(self, key: str) -> tuple[OrderBook, int] | None:
        """Return a book and the time (ns) when it was stored; None if there is none, or if it is too old."""
        found = self._counts.read(lambda: self._books.read(*named(key)), lambda found: found[1], self._ttl_s)
        if found is None:
            return None
        book, age_s = found
        return book, self._clock.now_ns() - int(age_s * NS_PER_S)

    def put(self, key: str, value: OrderBook, at_ns: int) -> None:
        """Store a book of `at_ns` soon, in place of an older one."""
        age_s = max(0.0, (self._clock.now_ns() - at_ns) / NS_PER_S)
        venue, symbol = named(key)
        self._redis.post("put book", lambda client: self._books.put_by(client, venue, symbol, value, age_s))

    def drop(self, key: str) -> None:
        """Forget a book, soon."""
        self._books.drop(*named(key))

    def figures(self) -> dict[str, float]:
        """Return hits, misses, failures, and the sum of the ages of all hits (hit_age_s)."""
        return self._counts.figures()


def text(number: float) -> str:
    """Return the text of a number, which is the same in every process, because a price must be the same member everywhere."""
    return repr(float(number))


def tagged(symbol: str) -> str:
    """Return a symbol for use in a hash tag, without braces, because a tag ends at the first brace."""
    return symbol.replace("{", "(").replace("}", ")")


def named(key: str) -> tuple[str, str]:
    """Return venue and symbol of `exchange.market.SYMBOL`."""
    exchange, market_type, symbol = key.split(".", 2)
    return f"{exchange}.{market_type}", symbol


def _decoded(found: Any) -> tuple[OrderBook, float]:
    """Return the book and its age. Raises RedisUnavailable for an invalid book."""
    try:
        age_us, at_ns, sequence, *sides = found
        bids, asks = map(_LEVELS.decode, sides)
        return OrderBook(bids=bids, asks=asks, at_ns=int(at_ns), sequence=int(sequence)), max(0.0, int(age_us) / 1e6)
    except (BadFrame, TypeError, ValueError) as error:
        raise RedisUnavailable(f"redis: not an order book: {error}", "wrong_type") from error
