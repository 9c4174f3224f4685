"""Binance spot and USDⓈ-M futures: every trade, from the raw `@trade` streams.

Documents: binance-spot-api-docs web-socket-streams.md and rest-api.md (2026-07-21) and their CHANGELOG; developers.binance.com,
USDⓈ-M "Compressed Aggregate Trades List" and "Kline Candlestick Data" (2026-08). No official page describes the futures `@trade`
stream; its facts are from several recorders since the base split of 2026 (2026-08). Checked 2026-11-27.

Symbols: upper case in REST, lower case in streams (`btcusdt@trade`). The base of 1000SATS and 1000PEPE includes the multiplier.
Ids: `t`, contiguous per symbol. On futures, rows with X="NA" (price and quantity 0) use up an id but are not trades. Rows of the
INSURANCE_FUND and of ADL, which take over positions, are flagged; the venue's own history omits them.
Times: ms. Side: `m` means that the buyer was the maker, so the taker sold. Quantities: base units.
Quirks: futures `@trade` is on `/public`. On `/market` it is acknowledged but never sends; only `@aggTrade` works there (variant
`agg_trade`). Unknown symbols are acknowledged but silent. Old spot frames have order ids in `a` and `b`. The symbol lists have
no volumes; ticker/24hr has them.
Limits: 1,024 streams per connection, then code 4. 5 messages/s on spot and 10 on futures, pings included, then close code
1008. 300 connects in 5 minutes; REST weight per minute; each market has separate limits. Heartbeat: the futures server
pings only every 3 minutes, so we ping as well.
History: spot has every trade by id (historicalTrades, from `fromId` on); without an id, only the newest 1,000. Futures have only
the newest 1,000 (paging by id needs a key). aggTrades reach back 48 hours, at most an hour per request, and join fills of one
price and side within 100 ms: `f` to `l` are the trade ids; `a` and `fromId` are ids of aggregates.
Candles: klines have base and quote volume and the number of trades, including the current minute. Block trades have a separate
stream, ids and history; it is not documented whether klines count them, or takeovers. On futures the weight depends on `limit`.
Books: depth, without a time on spot; on futures `T` is the time of the matching engine. 50 levels weigh 5 and 2. Tickers:
ticker/24hr of one symbol, without the best prices on futures.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from pumpwatch import (
    FUTURES,
    SPOT,
    AggregatedHistory,
    BadFrame,
    Candle,
    Candles,
    Columns,
    Control,
    ControlKind,
    Flag,
    Heartbeat,
    HistoryDepth,
    HistoryQuery,
    HttpRequest,
    IdKind,
    Instrument,
    Limits,
    OrderBooks,
    QuantityUnit,
    Venue,
    Volumes,
    ascending_candles,
    book_reader,
    hookimpl,
    split_multiplier,
    tickers_at,
)

NS_PER_MS, ROWS = 1_000_000, 1000  # rows of a history request
LONGEST_JOIN = 10_000  # trades in one aggregate; a row with a longer range counts as damaged
TWO_DAYS_S, WINDOW_MS = 2 * 86_400, 3_599_000  # of aggTrades: the reach, and the period of a request, which is less than an hour
SPECIAL = {"INSURANCE_FUND": Flag.INSURANCE_FUND.value, "ADL": Flag.ADL.value}
NO_ROOM, TRADING = {"code": 4, "msg": "Too many subscriptions"}, "TRADING"
ENDED = frozenset({"SETTLING", "DELIVERING", "DELIVERED", "CLOSE"})  # any other status may become TRADING
PERPETUAL = frozenset({"PERPETUAL", "TRADIFI_PERPETUAL", ""})  # the type is empty before trading begins
OTHER_EVENTS = frozenset({
    "1hTicker", "24hrMiniTicker", "24hrTicker", "4hTicker", "1dTicker", "assetIndexUpdate", "avgPrice", "blockTrade",
    "bookTicker", "compositeIndex", "continuous_kline", "contractInfo", "depthUpdate", "forceOrder", "kline",
    "markPriceUpdate", "referencePrice"})
TICKERS: dict[str, Any] = {"time": ("closeTime", NS_PER_MS), "symbol": "symbol", "names": {
    "price": "lastPrice", "open_24h": "openPrice", "high": "highPrice", "low": "lowPrice", "volume": "volume",
    "quote_volume": "quoteVolume", "trades": "count", "bid": "bidPrice", "ask": "askPrice"}}


class Trade(msgspec.Struct, gc=False):
    """A trade event; numeric strings are decoded to floats."""

    e: Literal["trade", "aggTrade"]
    s: str
    p: float
    q: float
    T: int
    m: bool | None = None
    t: int = -1
    a: int = -1
    X: str = "MARKET"


class HistoryRow(msgspec.Struct, gc=False):
    """A trade of the REST history."""

    id: int
    price: float
    qty: float
    time: int
    isBuyerMaker: bool


class Aggregate(msgspec.Struct, gc=False):
    """A row of aggTrades."""

    a: int
    p: float
    q: float
    f: int
    l: int  # noqa: E741 - the venue's name
    T: int
    m: bool


class Kline(msgspec.Struct, array_like=True, gc=False):
    """A candle; further fields are ignored."""

    start: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    end: int
    quote_volume: float
    trades: int


_trades = msgspec.json.Decoder(list[Trade], strict=False)
_combined = msgspec.json.Decoder(list[msgspec.defstruct(  # type: ignore[misc]
    "CombinedTrade", [("stream", str), ("data", Trade)], gc=False)], strict=False)
_rows = msgspec.json.Decoder(list[HistoryRow], strict=False)
_aggregates = msgspec.json.Decoder(list[Aggregate], strict=False)
_klines = msgspec.json.Decoder(list[Kline], strict=False)
# A row of exchangeInfo is 4 KB, most of it permissions; only the fields named here are decoded.
_symbol = msgspec.defstruct("Symbol", ["symbol", "status", "baseAsset", "quoteAsset", ("contractType", Any, "PERPETUAL"),
                                       ("isSpotTradingAllowed", Any, True)])
_listed = msgspec.json.Decoder(msgspec.defstruct("ExchangeInfo", [("symbols", list[_symbol])]))  # type: ignore[valid-type]
_volumes = msgspec.json.Decoder(list[msgspec.defstruct(  # type: ignore[misc]
    "Volume", [("symbol", str), ("quoteVolume", float)])], strict=False)


def _request(channel: str, method: str) -> Callable[[Sequence[str], int], str]:
    def frame(symbols: Sequence[str], request_id: int) -> str:
        params = [f"{symbol.lower()}@{channel}" for symbol in symbols]
        return msgspec.json.encode({"method": method, "params": params, "id": request_id}).decode()

    return frame


def parse(text: bytes | memoryview, columns: Columns) -> None:
    """Append the trades of a JSON array of `@trade` or `@aggTrade` frames, bare or from a combined stream."""
    try:
        trades = _trades.decode(text)
    except msgspec.ValidationError as plain:
        try:
            trades = [frame.data for frame in _combined.decode(text)]
        except msgspec.ValidationError as error:
            raise (plain if "`stream`" in str(error) else error) from None
    ids = [trade.t for trade in trades]
    if trades and min(ids) < 0:
        ids = [_id_of(trade) for trade in trades]
        columns.flags.update((row, Flag.AGGREGATED.value) for row, trade in enumerate(trades) if trade.e == "aggTrade")
    columns.trade_id = ids
    columns.symbol = [trade.s for trade in trades]
    columns.price = [trade.p for trade in trades]
    columns.quantity = [trade.q for trade in trades]
    columns.timestamp = [trade.T for trade in trades]
    columns.sell = sells = [trade.m for trade in trades]
    kinds = [trade.X for trade in trades]
    if kinds.count("MARKET") != len(kinds):
        columns.void = [row for row, kind in enumerate(kinds) if kind == "NA"]
        columns.flags.update((row, SPECIAL[kind]) for row, kind in enumerate(kinds) if kind in SPECIAL)
    if None in sells and any(sell is None and kind != "NA" for sell, kind in zip(sells, kinds, strict=True)):
        raise BadFrame("a trade without a side")


def _id_of(trade: Trade) -> int:
    number = trade.t if trade.e == "trade" else trade.a
    if number < 0:
        raise BadFrame("a trade without an id")
    return number


def read_control(frame: bytes) -> Control | None:
    """Read a frame that is not a trade: acknowledgement, rejection, shutdown, or another stream's event."""
    message = msgspec.json.decode(frame)
    if not isinstance(message, dict):
        return None
    if "stream" in message and isinstance(message.get("data"), dict):
        message = message["data"]
    event = message.get("e")
    if event == "serverShutdown":
        return Control(ControlKind.RECONNECT, reason="serverShutdown")
    if isinstance(event, str):
        return Control(ControlKind.OTHER, reason=event) if event in OTHER_EVENTS else None
    request_id = message.get("id") if isinstance(message.get("id"), int) else None
    error = message.get("error", message if "code" in message else None)
    if isinstance(error, dict):
        full, reason = error == NO_ROOM, f"{error.get('code')} {error.get('msg')}"
        return Control(ControlKind.FULL if full else ControlKind.REFUSAL, request_id, reason=reason)
    if "result" in message and "id" in message:
        return Control(ControlKind.ACK, request_id)
    if "lastUpdateId" in message or {"u", "s", "b", "a"} <= message.keys():
        return Control(ControlKind.OTHER, reason="order book")
    return None


def parse_instruments(bodies: Sequence[bytes]) -> list[Instrument]:
    """Read exchangeInfo: symbols that trade or may trade against USDT, spot or perpetual, without dated contracts.

    Symbols that are halted or not open yet (BREAK, HALT, END_OF_DAY, PENDING_TRADING) are included, to get their first trade.
    """
    return [
        Instrument(symbol=row.symbol, base=row.baseAsset, quote=row.quoteAsset, multiplier=split_multiplier(row.baseAsset),
                   status="trading" if row.status == TRADING else row.status.lower())
        for row in _listed.decode(bodies[0]).symbols  # type: ignore[attr-defined]
        if row.status not in ENDED and row.quoteAsset == "USDT" and row.contractType in PERPETUAL and row.isSpotTradingAllowed
    ]


def parse_volumes(body: bytes) -> dict[str, float]:
    """Read ticker/24hr of all symbols: symbol -> USDT traded in 24 hours."""
    return {row.symbol: row.quoteVolume for row in _volumes.decode(body)}


def _first_id(query: HistoryQuery) -> int:
    """Return the first id to request, 1,000 ids back if only the last one is known; -1 without ids."""
    first, last = int(query.first_id), int(query.last_id)
    return first if first >= 0 or last < 0 else max(0, last - ROWS + 1)


def spot_history_request(query: HistoryQuery) -> HttpRequest:
    """Request 1,000 rows by id, back to the first trade (without a key since 2023); without ids, the newest rows."""
    first = _first_id(query)
    if first < 0:
        return HttpRequest("/api/v3/trades", {"symbol": query.symbol, "limit": ROWS}, weight=25)
    rows = min(ROWS, query.last_id - first + 1) if query.last_id >= first else ROWS
    return HttpRequest("/api/v3/historicalTrades", {"symbol": query.symbol, "limit": rows, "fromId": first}, weight=25)


def futures_history_request(query: HistoryQuery) -> HttpRequest:
    """Request the last 1,000 rows for any query: paging by id needs a key. NA, ADL and insurance rows are missing."""
    return HttpRequest("/fapi/v1/trades", {"symbol": query.symbol, "limit": ROWS}, weight=5)


def aggregates_by_time(query: HistoryQuery) -> HttpRequest:
    """Request the oldest 1,000 aggregates of at most an hour; they cannot be requested by trade id."""
    start, end = query.start_ns // NS_PER_MS, -(-query.end_ns // NS_PER_MS) - 1
    return HttpRequest("/fapi/v1/aggTrades", {"symbol": query.symbol, "limit": ROWS, "startTime": start,
                                              "endTime": max(start, min(end, start + WINDOW_MS))}, weight=20)


def aggregates_by_id(query: HistoryQuery) -> HttpRequest:
    """Request 1,000 aggregates from an aggregate id on; without one, by time."""
    first = _first_id(query)
    if first < 0:
        return aggregates_by_time(query)
    return HttpRequest("/fapi/v1/aggTrades", {"symbol": query.symbol, "limit": ROWS, "fromId": first}, weight=20)


def parse_history(body: bytes, symbol: str, columns: Columns) -> None:
    """Append the rows of trades or historicalTrades."""
    rows = _rows.decode(body)
    columns.symbol = [symbol] * len(rows)
    columns.trade_id = [row.id for row in rows]
    columns.price = [row.price for row in rows]
    columns.quantity = [row.qty for row in rows]
    columns.timestamp = [row.time for row in rows]
    columns.sell = [row.isBuyerMaker for row in rows]


def _append_aggregates(rows: list[Aggregate], symbol: str, columns: Columns) -> None:
    columns.symbol = [symbol] * len(rows)
    columns.price = [row.p for row in rows]
    columns.quantity = [row.q for row in rows]
    columns.timestamp = [row.T for row in rows]
    columns.sell = [row.m for row in rows]


def parse_aggregates(body: bytes, symbol: str, columns: Columns) -> None:
    """Append the rows of aggTrades with the id of their first trade, each followed by void rows for its other ids.

    A row of more than LONGEST_JOIN trades is skipped, so that its ids stay missing.
    """
    rows, joined = _aggregates.decode(body), list[Aggregate]()
    ids: list[int] = []
    for row in rows:
        if not 0 <= row.f <= row.l:
            raise BadFrame(f"the trades {row.f} to {row.l} in one aggregate")
        if row.l - row.f >= LONGEST_JOIN:
            continue
        if row.f != row.l:
            columns.flags[len(ids)] = Flag.AGGREGATED.value
            columns.void += range(len(ids) + 1, len(ids) + row.l - row.f + 1)
        ids += range(row.f, row.l + 1)
        joined += [row] * (row.l - row.f + 1)
    _append_aggregates(joined, symbol, columns)
    columns.trade_id = ids


def parse_aggregates_by_id(body: bytes, symbol: str, columns: Columns) -> None:
    """Append the rows of aggTrades with their own ids, flagged, as in the stream `@aggTrade`."""
    rows = _aggregates.decode(body)
    _append_aggregates(rows, symbol, columns)
    columns.trade_id = [row.a for row in rows]
    columns.flags = dict.fromkeys(range(len(rows)), Flag.AGGREGATED.value)
    if rows and min(row.a for row in rows) < 0:
        raise BadFrame("a negative id")


def spot_candles_request(symbol: str, start_ns: int, end_ns: int) -> HttpRequest:
    """Request the klines of up to 1,000 minutes."""
    return HttpRequest("/api/v3/klines", _minutes(symbol, start_ns, end_ns, 1000), weight=2)


def futures_candles_request(symbol: str, start_ns: int, end_ns: int) -> HttpRequest:
    """Request the klines of up to 1,500 minutes; the weight depends on their number."""
    params = _minutes(symbol, start_ns, end_ns, 1500)
    rows = int(params["limit"])
    return HttpRequest("/fapi/v1/klines", params, weight=1 if rows < 100 else 2 if rows < 500 else 5 if rows <= 1000 else 10)


def _minutes(symbol: str, start_ns: int, end_ns: int, most: int) -> dict[str, str | int]:
    start, end = -(-start_ns // NS_PER_MS), -(-end_ns // NS_PER_MS) - 1
    return {"symbol": symbol, "interval": "1m", "startTime": start, "endTime": end,
            "limit": max(1, min(most, (end - start) // 60_000 + 1))}


def parse_candles(body: bytes, instrument: Instrument) -> list[Candle]:
    """Read klines; they have volumes in base units and the number of trades."""
    return ascending_candles(
        Candle(start_ns=row.start * NS_PER_MS, open=row.open, high=row.high, low=row.low, close=row.close, volume=row.volume,
               quote_volume=row.quote_volume, trades=row.trades) for row in _klines.decode(body))


def parse_candles_uncounted(body: bytes, instrument: Instrument) -> list[Candle]:
    """Read klines without their number of trades, for a variant whose stored rows join several trades."""
    return [dataclasses.replace(candle, trades=-1) for candle in parse_candles(body, instrument)]


def _books(path: str, weight: float, time: tuple[str, int] | None) -> OrderBooks:
    return OrderBooks(request=lambda symbol: HttpRequest(path, {"symbol": symbol, "limit": 50}, weight=weight),
                      parse=book_reader(time=time, sequence="lastUpdateId"))


def _venue(market_type: str, channel: str = "trade", **facts: Any) -> Venue:
    return Venue(
        exchange="binance", market_type=market_type, headers={}, id_kind=IdKind.CONTIGUOUS, quantity_unit=QuantityUnit.BASE,
        timestamp_unit_ns=1_000_000, parse=parse, subscribe=_request(channel, "SUBSCRIBE"),
        unsubscribe=_request(channel, "UNSUBSCRIBE"), read_control=read_control, parse_instruments=parse_instruments,
        **facts)


FUTURES_FACTS: dict[str, Any] = {
    "rest_url": "https://fapi.binance.com",
    "limits": Limits(symbols_per_connection=1024, symbols_per_message=200, message_bytes=8000, connection_bytes=0,
                     messages_per_second=10, subscriptions_per_hour=0, connects_per_second=10, connects_per_5_minutes=300,
                     connection_age_s=23 * 3600, requests_per_minute=2400, request_window_s=60, shared_by_markets=False),
    "heartbeat": Heartbeat(interval_s=30, text=None), "stale_after_s": 75,
    "instruments_requests": [HttpRequest("/fapi/v1/exchangeInfo", weight=1)],
    "volumes": Volumes(HttpRequest("/fapi/v1/ticker/24hr", weight=40), parse_volumes),
    "books": _books("/fapi/v1/depth", 2, ("T", NS_PER_MS)), "tickers": tickers_at("/fapi/v1/ticker/24hr", **TICKERS),
}
FUTURES_CANDLES = Candles(request=futures_candles_request, parse=parse_candles, rows_per_request=1500, reach_s=math.inf,
                          tolerance=0.0, why="")
AGGREGATES = HistoryDepth(rows_per_request=ROWS, pages=True, reach_s=TWO_DAYS_S, window_s=WINDOW_MS / 1000, oldest_first=True,
                          skips_ids=True)

VENUES = [
    _venue(
        SPOT, ws_url="wss://stream.binance.com:9443/ws", rest_url="https://api.binance.com",
        limits=Limits(symbols_per_connection=1024, symbols_per_message=200, message_bytes=8000, connection_bytes=0,
                      messages_per_second=5, subscriptions_per_hour=0, connects_per_second=10, connects_per_5_minutes=300,
                      connection_age_s=23 * 3600, requests_per_minute=6000, request_window_s=60, shared_by_markets=False),
        heartbeat=Heartbeat(interval_s=0, text=None), stale_after_s=60, history_request=spot_history_request,
        history=HistoryDepth(rows_per_request=ROWS, pages=True, reach_s=math.inf, by_id=True, by_time=False, oldest_first=True),
        parse_history=parse_history,
        instruments_requests=[HttpRequest("/api/v3/exchangeInfo", weight=20)],
        volumes=Volumes(HttpRequest("/api/v3/ticker/24hr", {"type": "MINI"}, weight=80), parse_volumes),
        candles=Candles(request=spot_candles_request, parse=parse_candles, rows_per_request=1000, reach_s=math.inf,
                        tolerance=0.0, why=""), books=_books("/api/v3/depth", 5, None),
        tickers=tickers_at("/api/v3/ticker/24hr", weight=2, **TICKERS)),
    _venue(FUTURES, ws_url="wss://fstream.binance.com/public/ws", history_request=futures_history_request,
           parse_history=parse_history, history=HistoryDepth(rows_per_request=ROWS, pages=False, reach_s=0, skips_ids=True),
           aggregated_history=AggregatedHistory(depth=AGGREGATES, request=aggregates_by_time, parse=parse_aggregates),
           candles=FUTURES_CANDLES, **FUTURES_FACTS),
    _venue(FUTURES, "aggTrade", variant="agg_trade", ws_url="wss://fstream.binance.com/market/ws",
           history_request=aggregates_by_id, parse_history=parse_aggregates_by_id,
           history=dataclasses.replace(AGGREGATES, by_id=True, skips_ids=False),
           candles=dataclasses.replace(FUTURES_CANDLES, parse=parse_candles_uncounted), **FUTURES_FACTS),
]


@hookimpl
def exchange_venues() -> list[Venue]:
    """Return both markets, and futures by aggregated trades as a variant."""
    return VENUES
