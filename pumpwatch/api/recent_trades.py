"""The last trades of a coin on every venue, from memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from pumpwatch.api.encodings import TradeRow, trade_rows
from pumpwatch.api.route import JSON, Answer, ApiCall, Problem, Route
from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.model import TradeBatch
from pumpwatch.store.query import QueryPart
from pumpwatch.store.recent import Held, extract

LOOKS_S = (10, 60, 300, 86_400)  # busy coins have enough trades in the first span; quiet ones need all of memory
AHEAD_NS = 60 * NS_PER_S  # a venue's clock may be ahead of ours

Coin = Annotated[str, Meta(min_length=1, max_length=30, pattern="^[0-9A-Za-z]+$", examples=["PEPE"],
                           description="one coin, of letters and digits")]


class RecentQuery(msgspec.Struct, forbid_unknown_fields=True):
    """limit: trades of each symbol."""

    coin: Coin
    limit: Annotated[int, Meta(ge=1, le=200)] = 20


class RecentSymbolTrades(msgspec.Struct):
    """The last trades of one symbol, the newest last. price, at_ns: of the newest trade, null without trades in memory."""

    exchange: str
    market_type: str
    symbol: str
    multiplier: int
    price: float | None
    at_ns: int | None
    trades: list[TradeRow]


class CoinTrades(msgspec.Struct):
    """A coin on every venue that lists it."""

    coin: str
    symbols: list[RecentSymbolTrades]


def recent(call: ApiCall) -> Answer:
    """Return the last trades and prices of a coin."""
    desk, query = call.desk, call.query
    ids = desk.catalogue.matching(query.coin)
    if not ids:
        raise Problem(404, "unknown coin: none of the collected venues lists it")
    last: dict[int, TradeBatch] = {}
    now_ns, began_s = desk.clock.now_ns(), desk.clock.monotonic()
    for look_s in LOOKS_S:
        start_ns = now_ns - look_s * NS_PER_S
        found = desk.offload(_last_of, desk.recent.held(start_ns, now_ns + AHEAD_NS),
                             [number for number in ids if number not in last], start_ns, now_ns + AHEAD_NS, query.limit)
        last |= {number: batch for number, batch in found.items() if len(batch) >= query.limit or look_s == LOOKS_S[-1]}
        if len(last) == len(ids) or start_ns < desk.recent.covers_from_ns:
            last |= {number: batch for number, batch in found.items() if number not in last}
            break
    ms, rows = (desk.clock.monotonic() - began_s) * 1000, sum(map(len, last.values()))
    desk.queries.record(query.coin, start_ns, now_ns, [QueryPart("recent", rows, ms)], rows, ms)
    return Answer(desk.offload(_encoded, desk.catalogue, query.coin.upper(), ids, last), JSON)


def _encoded(catalogue: Catalogue, coin: str, ids: Sequence[int], last: Mapping[int, TradeBatch]) -> bytes:
    """Return a `CoinTrades` as JSON, encoded symbol by symbol: one call for a hundred symbols would block for too long."""
    encode = msgspec.json.encode
    return b'{"coin":%b,"symbols":[%b]}' % (
        encode(coin), b",".join(encode(_of_symbol(catalogue, number, last.get(number))) for number in ids))


def _last_of(held: Sequence[Held], ids: Sequence[int], start_ns: int, end_ns: int, limit: int) -> Mapping[int, TradeBatch]:
    batch = extract(held, ids, start_ns, end_ns)
    return {number: batch.take(np.flatnonzero(batch.instrument == number)[-limit:]) for number in ids}


def _of_symbol(catalogue: Catalogue, number: int, batch: TradeBatch | None) -> RecentSymbolTrades:
    exchange, market_type = catalogue.venues[number]
    instrument = catalogue.instruments[number]
    rows = trade_rows(batch, catalogue) if batch is not None else []
    newest = rows[-1] if rows else None
    return RecentSymbolTrades(exchange, market_type, instrument.symbol, instrument.multiplier, newest.price if newest else None,
                        newest.timestamp if newest else None, rows)


ROUTES = (Route("/api/trades/recent", recent, "The last trades and prices of a coin on every venue, from memory", CoinTrades,
                RecentQuery, errors=(404,)),)
