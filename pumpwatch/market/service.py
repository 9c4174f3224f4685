"""The market data of a data folder: candles, tickers, order books, trades and 24-hour figures of many coins in one call.

An answer comes from the nearest source that has it: recent trades, the caches in memory, in Redis and on disk, the store, or the
venue. Each answer has its source and age. The service never writes to the journal or the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from gevent.pool import Pool

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import PumpWatchError, UsageError
from pumpwatch.market.answers import CandleAnswer, Found, SymbolStats, SymbolTrades
from pumpwatch.market.candle_reader import CandleReader
from pumpwatch.market.disk_cache import BOOK_S, TICKER_S
from pumpwatch.market.interfaces import Cache, CandleStore
from pumpwatch.market.known_minutes import Records
from pumpwatch.market.last_trades import AHEAD_NS, Last, LastTrades
from pumpwatch.market.memory_cache import MemoryCache
from pumpwatch.market.own_tickers import RECENT_S, DayOf, OwnTickers
from pumpwatch.market.pull_through import PullThrough
from pumpwatch.market.statistics import DAY_NS, stats_of
from pumpwatch.market.trade_source import TradeSource, ids_of
from pumpwatch.market.venue_asker import VenueAsker
from pumpwatch.model import BUY, Instrument, TradeBatch
from pumpwatch.order_book import LEVELS, OrderBook
from pumpwatch.redis.errors import RedisUnavailable
from pumpwatch.redis.market_tiers import SharedMarket
from pumpwatch.ticker import Ticker

Coins = str | Sequence[str]
TRADES_S = 600.0  # how long last trades are cached
MEMORY_BYTES = 8 * 1024 * 1024  # per kind of answer
AT_ONCE = 24  # concurrent requests to venues
MOST_TRADES = 10_000  # per symbol
NOT_TRADED = "not a trade of the last 24 hours is stored"
FRESH_S = 5.0  # a trade newer than this is used without looking for a newer one elsewhere: prices are shared every second
LAST_S = 1.0  # how long the newest trades found in the journal are cached
LOOKS_S = (60, 900, 7200, 86_400)  # ever longer times in which last trades are searched: a quiet coin needs a longer one

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DiskTiers:
    """The caches on disk; None: only memory."""

    tickers: Cache | None = None
    books: Cache | None = None


class MarketService:
    """Answers questions about coins. Every method raises UsageError for an invalid question.

    coins: a name such as SOMI, or a sequence of names; exchange and market (spot, futures) select among its instruments. asker:
    None: venues are not asked. shared: the data in Redis that processes and hosts share. records, store_problem: see
    CandleReader. day: returns the last 24 hours of instruments, in place of `days`, which blocks.
    """

    def __init__(self, trades: TradeSource, store: CandleStore | None, asker: VenueAsker | None, clock: Clock,
                 disk: DiskTiers | None = None, *, shared: SharedMarket | None = None, records: Records | None = None,
                 day: DayOf | None = None, store_problem: str = "") -> None:
        disk, self._shared = disk or DiskTiers(), shared
        self.trades, self._asker, self._clock = trades, asker, clock
        self.candles = CandleReader(trades, store, clock, asker, records, store_problem)
        self._noted = LastTrades()
        self._looked = MemoryCache(MEMORY_BYTES, LAST_S, clock, lambda last: 100)
        self._own = OwnTickers(self._last, day or self.days, clock)
        tickers = _tiers(TICKER_S, clock, shared.tickers if shared else None, disk.tickers)
        books = _tiers(BOOK_S, clock, shared.books if shared else None, disk.books)
        self._tickers: PullThrough[Ticker] = PullThrough(tickers, clock)
        self._books: PullThrough[OrderBook] = PullThrough(books, clock)
        self._trades = MemoryCache(MEMORY_BYTES, TRADES_S, clock, lambda kept: 90 * len(kept[1]))

    def get_candles(self, coins: Coins, interval: str = "1m", from_ns: int | None = None, to_ns: int | None = None, *,
                    exchange: str | None = None, market: str | None = None, limit: int | None = None,
                    ask: bool = False) -> CandleAnswer:
        """Return the candles that overlap [from_ns, to_ns), the last `limit` of each symbol; by default of the last 24 hours.

        ask: fetch minutes before the first known one from the venue; their origin is VENUE.
        """
        now_ns = self._clock.now_ns()
        to_ns = now_ns if to_ns is None else to_ns
        from_ns = to_ns - DAY_NS if from_ns is None else from_ns
        if limit is not None and limit < 1:
            raise UsageError(f"a limit of {limit}", "give 1 or more")
        return self.candles.read(self.ids(coins, exchange, market), interval, from_ns, to_ns, limit, ask=ask)

    def get_ticker(self, coins: Coins, *, exchange: str | None = None, market: str | None = None,
                   ask: bool = True) -> list[Found[Ticker]]:
        """Return a ticker for each symbol, from recorded trades if it has traded within 5 minutes. ask: request missing ones.

        The 24-hour figures come from complete candles, else from the venue; the venue's are cached for 5 minutes.
        """
        ids = self.ids(coins, exchange, market)
        own = self._own.prices(ids)
        days = self._own.days(list(own))
        asked = [number for number in ids if number not in days]
        venues = dict(zip(asked, self._each(asked, self._tickers, ask, lambda asker, venue, instrument: asker.ticker(
            venue, instrument)), strict=True))
        found = []
        for number in ids:
            if number in days:
                found.append(self._own.of_candles(self._name(number), own[number], *days[number]))
            elif number in own:
                found.append(self._own.of_venue(own[number], venues[number]))
            else:
                ticker = venues[number]
                found.append(replace(ticker, day_source="venue", day_age_s=ticker.age_s) if ticker.value is not None else ticker)
        return found

    def get_orderbook(self, coins: Coins, depth: int = 20, *, exchange: str | None = None, market: str | None = None,
                      ask: bool = True) -> list[Found[OrderBook]]:
        """Return the order book of each symbol, the best `depth` levels per side. Cached books are at most 30 s old."""
        if not 1 <= depth <= LEVELS:
            raise UsageError(f"a depth of {depth:,}", f"give 1 to {LEVELS} levels")
        found = self._each(self.ids(coins, exchange, market), self._books, ask,
                           lambda asker, venue, instrument: asker.book(venue, instrument))
        return [_cut(book, depth) for book in found]

    def get_trades(self, coins: Coins, limit: int = 100, *, exchange: str | None = None,
                   market: str | None = None) -> list[Found[SymbolTrades]]:
        """Return the last `limit` stored trades of each symbol within 24 hours, newest last."""
        if not 1 <= limit <= MOST_TRADES:
            raise UsageError(f"a limit of {limit:,} trades", f"give 1 to {MOST_TRADES:,}")
        state = self.trades.state()
        return [self._last_trades(number, limit, state) for number in self.ids(coins, exchange, market)]

    def get_stats(self, coins: Coins, *, exchange: str | None = None, market: str | None = None,
                  ask: bool = False) -> list[Found[SymbolStats]]:
        """Return the figures of each symbol in the last 24 hours, from candles and trades."""
        now_ns, found = self._clock.now_ns(), []
        for number in self.ids(coins, exchange, market):
            problems = [self.candles.store_problem] if self.candles.store_problem else []
            stats = stats_of(self.candles, number, now_ns - DAY_NS, now_ns, problems, ask=ask)
            problems += self.trades.problems()
            why = "; ".join(problems) or ("" if stats else NOT_TRADED)
            found.append(Found(*self._name(number), stats, "store" if stats else "", 0.0, why))
        return found

    def ids(self, coins: Coins, exchange: str | None = None, market: str | None = None) -> list[int]:
        """Return the ids of the coins' instruments. Raises UsageError for an unknown coin, or if no instrument matches."""
        try:
            found = ids_of(self.trades.catalogue, coins, exchange, market)
        except UsageError:  # it may have been listed since
            self.trades.look_again()
            found = ids_of(self.trades.catalogue, coins, exchange, market)
        if not found:
            known = sorted({f"{name}.{kind}" for name, kind in self.trades.catalogue.venues})
            raise UsageError(f"not listed on {exchange or 'any exchange'}{f' {market}' if market else ''}",
                             f"known venues: {', '.join(known)}")
        return found

    def note_trades(self, batch: TradeBatch) -> None:
        """Use newer trades for answers, in place of cached ones. Fast; call it from one thread."""
        self._noted.note(batch)

    def days(self, ids: Sequence[int]) -> dict[int, SymbolStats]:
        """Return the last 24 hours of the instruments that have data. Blocks while it reads."""
        now_ns = self._clock.now_ns()
        found = {number: stats_of(self.candles, number, now_ns - DAY_NS, now_ns, []) for number in ids}
        return {number: stats for number, stats in found.items() if stats is not None}

    def _last(self, ids: Sequence[int]) -> dict[int, Last]:
        """Return the newest trade of each instrument that has a recent one, from noted trades, Redis, or the journal.

        A fresh trade is used at once. If a nearer source has only an older one, the next source may have a newer one: another
        process may read the symbol by now, or may have stopped sharing it.
        """
        found, now_ns = self._noted.of(ids), self._clock.now_ns()
        fresh_ns = now_ns - int(FRESH_S * NS_PER_S)
        wanted = [number for number in ids
                  if number not in found or (self._shared is not None and found[number].at_ns < fresh_ns)]
        kept: dict[int, Any] = {number: self._looked.get(str(number)) for number in wanted}
        missing = [number for number, last in kept.items() if last is None]
        shared = self._shared_last(missing)
        fresh = {number for number, last in shared.items() if last.at_ns >= fresh_ns}
        old = [number for number in missing if number not in found and number not in fresh]
        read = (LastTrades([self.trades.between(old, now_ns - int(RECENT_S * NS_PER_S), now_ns + AHEAD_NS)]).of(old)
                if old else {})
        for number in missing:
            last = read[number]._replace(source="journal") if number in read else None
            if number in shared and (last is None or shared[number].at_ns > last.at_ns):
                last = shared[number]
            self._looked.put(str(number), last, now_ns)
            kept[number] = last, now_ns
        newer = {number: last for number, (last, _) in kept.items()
                 if last is not None and (number not in found or last.at_ns > found[number].at_ns)}
        return found | newer

    def _shared_last(self, ids: Sequence[int]) -> dict[int, Last]:
        """Return the recent newest trades that other processes have shared in Redis; none if Redis is unavailable."""
        if self._shared is None or not ids:
            return {}
        since_ns, numbers = self._clock.now_ns() - int(RECENT_S * NS_PER_S), dict[tuple[str, str], int]()
        for number, (exchange, market_type, symbol) in zip(ids, self.trades.catalogue.names(ids), strict=True):
            numbers[f"{exchange}.{market_type}", symbol] = number
        try:
            found = self._shared.prices.of(numbers)
        except RedisUnavailable:
            return {}
        return {numbers[name]: Last(at_ns, price, "redis") for name, (at_ns, price) in found.items() if at_ns >= since_ns}

    def figures(self) -> dict[str, dict[str, float]]:
        """Return the figures of each cache by kind and tier, such as `tickers memory`."""
        found = {f"{kind} {'memory' if name == 'cache' else name}": tier.figures()
                 for kind, pulled in (("tickers", self._tickers), ("books", self._books)) for name, tier in pulled.tiers.items()}
        return {**found, "trades memory": self._trades.figures()}

    def _name(self, number: int) -> tuple[str, str, str]:
        return self.trades.catalogue.names([number])[0]

    def _each(self, ids: Sequence[int], pulled: PullThrough[T], ask: bool,
              fetch: Callable[[VenueAsker, str, Instrument], T]) -> list[Found[T]]:
        """Return the answer for each instrument; fetch the missing ones concurrently."""
        kept = [pulled.cached(".".join(self._name(number))) for number in ids]

        def fetched_one(number: int) -> Found[T]:
            name, asker = self._name(number), self._asker
            venue, instrument = f"{name[0]}.{name[1]}", self.trades.catalogue.instruments[number]
            if not ask or asker is None:
                return Found(*name, problem="not cached, and venues are not asked")
            try:
                return self._found(number, pulled.fetched(".".join(name), lambda: fetch(asker, venue, instrument)))
            except PumpWatchError as error:
                return Found(*name, problem=error.message)

        missing = [number for number, found in zip(ids, kept, strict=True) if found is None]
        fetched = iter(map(fetched_one, missing) if len(missing) < 2 else Pool(AT_ONCE).map(fetched_one, missing))
        return [next(fetched) if found is None else self._found(number, found) for number, found in zip(ids, kept, strict=True)]

    def _found(self, number: int, found: tuple[T, int, str]) -> Found[T]:
        value, at_ns, source = found
        return Found(*self._name(number), value, source, max(0.0, (self._clock.now_ns() - at_ns) / NS_PER_S))

    def _last_trades(self, number: int, limit: int, state: object) -> Found[SymbolTrades]:
        name = self._name(number)
        key, now_ns = ".".join(name), self._clock.now_ns()
        kept: Any = self._trades.get(key)
        noted = self._noted.of([number]).get(number)
        newer = noted is not None and kept is not None and noted.at_ns > (int(kept[0][1].timestamp[-1]) if len(kept[0][1]) else 0)
        if kept is not None and not newer and kept[0][0] == state and kept[0][2] >= limit:
            return Found(*name, _last(kept[0][1], limit), "cache", (now_ns - kept[1]) / NS_PER_S)
        batch = TradeBatch.empty()
        for look_s in LOOKS_S:
            batch = self.trades.between([number], now_ns - look_s * NS_PER_S, now_ns + 60 * NS_PER_S)
            if len(batch) >= limit:
                break
        batch = batch.take(slice(max(0, len(batch) - limit), None))
        columns = SymbolTrades(batch.timestamp, batch.price, batch.quantity, batch.side == BUY, batch.id_texts())
        problems = self.trades.problems()
        if not problems:  # a cached answer has no problems
            self._trades.put(key, (state, columns, limit), now_ns)
        return Found(*name, columns, "store", 0.0, "; ".join(problems))


def _tiers(ttl_s: float, clock: Clock, shared: Cache | None, disk: Cache | None) -> dict[str, Cache]:
    """Return the caches by name, fastest first."""
    found: dict[str, Cache | None] = {"cache": MemoryCache(MEMORY_BYTES, ttl_s, clock), "redis": shared, "disk": disk}
    return {name: cache for name, cache in found.items() if cache is not None}


def _last(columns: SymbolTrades, limit: int) -> SymbolTrades:
    start = max(0, len(columns) - limit)
    return SymbolTrades(columns.timestamp[start:], columns.price[start:], columns.quantity[start:], columns.buy[start:],
                        columns.trade_id[start:])


def _cut(found: Found[OrderBook], depth: int) -> Found[OrderBook]:
    book = found.value
    if book is None:
        return found
    return Found(found.exchange, found.market_type, found.symbol, book.best(depth), found.source, found.age_s, found.problem)
