"""Candles, tickers, order books and 24-hour figures of one or more coins.

Candles and figures are read in a native thread, from the store and from the trades in memory. Tickers and order books that are
not cached are fetched from the venues in greenlets, within the collector's request budgets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from pumpwatch.api.desk import Desk
from pumpwatch.api.market_answers import CandlesAnswer, OrderBookRow, StatsRow, TickerRow
from pumpwatch.api.route import JSON, Answer, ApiCall, Problem, Route
from pumpwatch.api.trades import Time, asked_range
from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import PumpWatchError, UsageError
from pumpwatch.market.answers import Found, SymbolStats
from pumpwatch.market.intervals import interval_ns
from pumpwatch.market.minute_verdicts import evidence
from pumpwatch.market.opened import opened_store
from pumpwatch.market.service import MarketService
from pumpwatch.market.statistics import DAY_NS
from pumpwatch.model import TradeBatch
from pumpwatch.store.recent import Held, extract

MOST = 20_000  # candles of an answer, about 6 MB
AHEAD_NS = 60 * NS_PER_S  # a venue's clock may be ahead of ours
Coins = Annotated[str, Meta(min_length=1, max_length=400, pattern="^[0-9A-Za-z]+(,[0-9A-Za-z]+){0,19}$", examples=["SOMI,PEPE"],
                             description="one coin, or up to 20 coins separated by commas, in one parameter")]
Name = Annotated[str, Meta(max_length=40)]
T = TypeVar("T")


class CoinsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """coin: one, or up to twenty separated by commas. exchange: empty for all."""

    coin: Coins
    exchange: Name = ""
    market: Literal["spot", "futures", "any"] = "any"


class CandlesQuery(CoinsQuery, forbid_unknown_fields=True, rename={"from_": "from"}):
    """from, to: as for trades. limit: the number of last candles of each symbol."""

    interval: Literal["1m", "5m", "15m", "1h", "4h", "1d"] = "1m"
    from_: Time = "-1h"
    to: Time = "now"
    limit: Annotated[int, Meta(ge=1, le=MOST)] = MOST


class BookQuery(CoinsQuery, forbid_unknown_fields=True):
    """depth: levels of each side."""

    depth: Annotated[int, Meta(ge=1, le=50)] = 20


class HeldTrades:
    """A snapshot of the trades in memory, as a source of trades for a `MarketService`."""

    def __init__(self, catalogue: Catalogue, held: Sequence[Held], from_ns: int) -> None:
        self.catalogue, self._held, self._from_ns = catalogue, held, from_ns

    def between(self, ids: Sequence[int], from_ns: int, to_ns: int) -> TradeBatch:
        """Return the trades of these instruments in [from_ns, to_ns), by time."""
        return extract(self._held, ids, from_ns, to_ns)

    def begins_ns(self) -> int:
        """Return the time since which memory has every trade."""
        return self._from_ns

    def whole_from_ns(self) -> int:
        """Return the time since which memory has every trade."""
        return self._from_ns

    def look_again(self) -> None:
        """Do nothing, because this is the collector's own catalogue."""

    def state(self) -> object:
        """Return a constant, because these trades do not change."""
        return 0

    def problems(self) -> list[str]:
        """Return an empty list, because memory can always be read."""
        return []


def candles(call: ApiCall) -> Answer:
    """Return candles by symbol and time, and the times without a candle in which trades may be missing."""
    query = call.query
    from_ns, to_ns = asked_range(query.from_, query.to, call.desk.clock.now_ns())

    def read(service: MarketService) -> bytes:
        coins, exchange, market = _chosen(query)
        ids = service.ids(coins, exchange, market)
        wanted = min(query.limit, max(0, to_ns - from_ns) // interval_ns(query.interval) + 1) * len(ids)
        if wanted > MOST:
            raise Problem(400, f"up to {wanted:,} candles in this time, more than {MOST:,}: request fewer, or a longer interval")
        try:
            found = service.get_candles(coins, query.interval, from_ns, to_ns, exchange=exchange, market=market,
                                        limit=query.limit)
        except UsageError as error:  # the coins are known, so the time is too long
            raise Problem(400, str(error)) from error
        return msgspec.json.encode({"candles": found.records(), "problems": found.problems, "not_covered": [
            {"exchange": exchange, "market_type": market_type, "symbol": symbol, "from_ns": begin, "to_ns": end}
            for (exchange, market_type, symbol), begin, end in found.not_covered]})

    return Answer(_from_store(call, from_ns, read), JSON)


def stats(call: ApiCall) -> Answer:
    """Return the figures of the last 24 hours."""
    def read(service: MarketService) -> bytes:
        coins, exchange, market = _chosen(call.query)
        return _rows(service.get_stats(coins, exchange=exchange, market=market))

    return Answer(_from_store(call, call.desk.clock.now_ns() - DAY_NS, read), JSON)


def ticker(call: ApiCall) -> Answer:
    """Return tickers, from recorded trades if a symbol has recent ones."""
    coins, exchange, market = _chosen(call.query)
    return Answer(_rows(_or_problem(lambda: _service(call).get_ticker(coins, exchange=exchange, market=market))), JSON)


def orderbook(call: ApiCall) -> Answer:
    """Return order books."""
    coins, exchange, market = _chosen(call.query)
    depth = call.query.depth
    return Answer(_rows(_or_problem(lambda: _service(call).get_orderbook(coins, depth, exchange=exchange, market=market))), JSON)


def _service(call: ApiCall) -> MarketService:
    if call.desk.market is None:
        raise Problem(503, "this collector cannot query venues")
    return call.desk.market


def _chosen(query: CoinsQuery) -> tuple[list[str], str | None, str | None]:
    return query.coin.split(","), query.exchange or None, None if query.market == "any" else query.market


def _or_problem(read: Callable[[], T]) -> T:
    """Return what `read` returns. Raises Problem for its errors."""
    try:
        return read()
    except UsageError as error:
        raise Problem(404, str(error)) from error
    except PumpWatchError as error:
        if isinstance(error, Problem):
            raise
        raise Problem(503, str(error)) from error


def days(desk: Desk, ids: Sequence[int]) -> dict[int, SymbolStats]:
    """Return the last 24 hours of instruments by id, without unknown ones; empty if the store cannot be read."""
    try:
        return _with_memory(desk, desk.clock.now_ns() - DAY_NS, lambda service: service.days(ids))
    except PumpWatchError:
        return {}


def _from_store(call: ApiCall, from_ns: int, read: Callable[[MarketService], bytes]) -> bytes:
    return _or_problem(lambda: _with_memory(call.desk, from_ns, read))


def _with_memory(desk: Desk, from_ns: int, read: Callable[[MarketService], T]) -> T:
    """Read in a native thread, from the store and from the trades in memory since a time."""
    held = desk.recent.held(from_ns, desk.clock.now_ns() + AHEAD_NS)  # quick, and must run on the hub, which changes memory
    trades = HeldTrades(desk.catalogue, held, desk.recent.covers_from_ns)
    return desk.offload(_read, trades, Path(desk.config.store.dir), desk.clock, read)


def _read(trades: HeldTrades, folder: Path, clock: Clock, read: Callable[[MarketService], T]) -> T:
    """Open the store in this thread, and read."""
    store, problem = opened_store(folder)
    try:
        return read(MarketService(trades, store, None, clock, records=partial(evidence, folder), store_problem=problem))
    finally:
        if store is not None:
            store.close()


def _rows(found: Sequence[Found[Any]]) -> bytes:
    return msgspec.json.encode([
        {"exchange": row.exchange, "market_type": row.market_type, "symbol": row.symbol,
         "value": None if row.value is None else _figures(row.value), "source": row.source, "age_s": round(row.age_s, 3),
         "problem": row.problem,
         **({"day_source": row.day_source, "day_age_s": round(row.day_age_s, 3)} if row.day_source else {})}
        for row in found])


def _figures(value: Any) -> dict[str, Any]:
    """Return the figures of a value; unknown ones are None, or nan, which JSON encodes as null."""
    found = asdict(value)
    for name in ("trades", "sequence"):
        if found.get(name) == -1:
            found[name] = None
    return found | {"change": value.change} if hasattr(value, "change") else found


ROUTES = (
    Route("/api/candles", candles, f"Candles of coins, at most {MOST:,} at once", CandlesAnswer, CandlesQuery, errors=(404, 503)),
    Route("/api/ticker", ticker, "Tickers of coins, by own trades or the venues", list[TickerRow], CoinsQuery,
          errors=(404, 503)),
    Route("/api/orderbook", orderbook, "The order books of coins", list[OrderBookRow], BookQuery, errors=(404, 503)),
    Route("/api/stats", stats, "The figures of coins in the last 24 hours", list[StatsRow], CoinsQuery, errors=(404, 503)),
)
