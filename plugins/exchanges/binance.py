"""Binance spot and USDⓈ-M futures: every trade, from the raw `@trade` streams.

Documents: binance-spot-api-docs web-socket-streams.md and rest-api.md (2026-07-21) and their CHANGELOG. No official page
describes the futures `@trade` stream; its facts are from several recorders since the base split of 2026 (2026-08).
Checked 2026-11-21.

Symbols: upper case in REST, lower case in streams (`btcusdt@trade`). 1000SATS and 1000PEPE carry their multiplier in the
base.
Ids: `t`, contiguous per symbol. On futures, rows with X="NA" (price and quantity 0) use up an id and are not trades. Rows
of the INSURANCE_FUND and of ADL, which take over positions, are flagged; the venue's own history leaves them out.
Times: ms. Side: `m` says that the buyer was the maker, so the taker sold. Quantities: base units.
Quirks: futures `@trade` lives on `/public`. On `/market` it is acknowledged and silent for ever; only `@aggTrade` flows
there (variant `agg_trade`). Unknown symbols are acknowledged and silent. Old spot frames carry order ids in `a` and `b`.
The symbol lists carry no volumes; ticker/24hr does.
Limits: 1,024 streams per connection, then code 4. 5 messages/s on spot and 10 on futures, pings included, then close code
1008. 300 connects in 5 minutes; REST weight per minute; each market has limits of its own. Heartbeat: the futures server
pings every 3 minutes only, so we ping as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from pumpwatch import (
    FUTURES,
    SPOT,
    BadFrame,
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
    QuantityUnit,
    Venue,
    Volumes,
    hookimpl,
    split_multiplier,
)

SPECIAL = {"INSURANCE_FUND": Flag.INSURANCE_FUND.value, "ADL": Flag.ADL.value}
NO_ROOM, TRADING = {"code": 4, "msg": "Too many subscriptions"}, "TRADING"
ENDED = frozenset({"SETTLING", "DELIVERING", "DELIVERED", "CLOSE"})  # any other status may become TRADING
PERPETUAL = frozenset({"PERPETUAL", "TRADIFI_PERPETUAL", ""})  # the type is empty before trading begins
OTHER_EVENTS = frozenset({
    "1hTicker", "24hrMiniTicker", "24hrTicker", "4hTicker", "1dTicker", "assetIndexUpdate", "avgPrice", "blockTrade",
    "bookTicker", "compositeIndex", "continuous_kline", "contractInfo", "depthUpdate", "forceOrder", "kline",
    "markPriceUpdate", "referencePrice",
})


class Trade(msgspec.Struct, gc=False):
    """A trade event; numbers in text become floats while they are decoded."""

    e: Literal["trade", "aggTrade"]
    s: str
    p: float
    q: float
    T: int
    m: bool | None = None
    t: int = -1
    a: int = -1
    X: str = "MARKET"


class CombinedTrade(msgspec.Struct, gc=False):
    """A trade event on a combined stream."""

    stream: str
    data: Trade


class HistoryRow(msgspec.Struct, gc=False):
    """A trade of the REST history."""

    id: int
    price: float
    qty: float
    time: int
    isBuyerMaker: bool


class Volume(msgspec.Struct, gc=False):
    """The 24-hour volume of a symbol."""

    symbol: str
    quoteVolume: float


_trades = msgspec.json.Decoder(list[Trade], strict=False)
_combined = msgspec.json.Decoder(list[CombinedTrade], strict=False)
_rows = msgspec.json.Decoder(list[HistoryRow], strict=False)
# A row of exchangeInfo is 4 KB, most of it permissions; only the fields named here are decoded.
_symbol = msgspec.defstruct("Symbol", ["symbol", "status", "baseAsset", "quoteAsset", ("contractType", Any, "PERPETUAL"),
                                       ("isSpotTradingAllowed", Any, True)])
_listed = msgspec.json.Decoder(msgspec.defstruct("ExchangeInfo", [("symbols", list[_symbol])]))  # type: ignore[valid-type]
_volumes = msgspec.json.Decoder(list[Volume], strict=False)


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
        kind = ControlKind.FULL if error == NO_ROOM else ControlKind.REFUSAL
        return Control(kind, request_id, reason=f"{error.get('code')} {error.get('msg')}")
    if "result" in message and "id" in message:
        return Control(ControlKind.ACK, request_id)
    if "lastUpdateId" in message or {"u", "s", "b", "a"} <= message.keys():
        return Control(ControlKind.OTHER, reason="order book")
    return None


def parse_instruments(bodies: Sequence[bytes]) -> list[Instrument]:
    """Read exchangeInfo: what trades against USDT or still may, spot or perpetual; dated contracts are left out.

    Symbols that are halted or not open yet (BREAK, HALT, END_OF_DAY, PENDING_TRADING) are subscribed too, for their first trade.
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


def spot_history_request(query: HistoryQuery) -> HttpRequest:
    """Ask by id, 1,000 rows a page, back to the first trade: historicalTrades needs no key since 2023."""
    params: dict[str, str | int] = {"symbol": query.symbol, "limit": 1000}
    if query.first_id >= 0:
        return HttpRequest("/api/v3/historicalTrades", params | {"fromId": query.first_id}, weight=25)
    return HttpRequest("/api/v3/trades", params, weight=25)


def futures_history_request(query: HistoryQuery) -> HttpRequest:
    """Ask for the last 1,000 rows, whatever the query: paging by id needs a key. NA, ADL and insurance rows are missing."""
    return HttpRequest("/fapi/v1/trades", {"symbol": query.symbol, "limit": 1000}, weight=5)


def parse_history(body: bytes, symbol: str, columns: Columns) -> None:
    """Append the rows of trades or historicalTrades."""
    rows = _rows.decode(body)
    columns.symbol = [symbol] * len(rows)
    columns.trade_id = [row.id for row in rows]
    columns.price = [row.price for row in rows]
    columns.quantity = [row.qty for row in rows]
    columns.timestamp = [row.time for row in rows]
    columns.sell = [row.isBuyerMaker for row in rows]


def _venue(market_type: str, channel: str = "trade", **facts: Any) -> Venue:
    return Venue(
        exchange="binance", market_type=market_type, headers={}, id_kind=IdKind.CONTIGUOUS, quantity_unit=QuantityUnit.BASE,
        timestamp_unit_ns=1_000_000, parse=parse, subscribe=_request(channel, "SUBSCRIBE"),
        unsubscribe=_request(channel, "UNSUBSCRIBE"), read_control=read_control, parse_instruments=parse_instruments,
        parse_history=parse_history, **facts)


FUTURES_FACTS: dict[str, Any] = {
    "rest_url": "https://fapi.binance.com",
    "limits": Limits(symbols_per_connection=1024, symbols_per_message=200, message_bytes=8000, connection_bytes=0,
                     messages_per_second=10, subscriptions_per_hour=0, connects_per_second=10, connects_per_5_minutes=300,
                     connection_age_s=23 * 3600, requests_per_minute=2400, request_window_s=60, shared_by_markets=False),
    "heartbeat": Heartbeat(interval_s=30, text=None), "stale_after_s": 75,
    "history": HistoryDepth(rows_per_request=1000, pages=False, reach_s=0),
    "instruments_requests": [HttpRequest("/fapi/v1/exchangeInfo", weight=1)], "history_request": futures_history_request,
    "volumes": Volumes(HttpRequest("/fapi/v1/ticker/24hr", weight=40), parse_volumes),
}

VENUES = [
    _venue(
        SPOT, ws_url="wss://stream.binance.com:9443/ws", rest_url="https://api.binance.com",
        limits=Limits(symbols_per_connection=1024, symbols_per_message=200, message_bytes=8000, connection_bytes=0,
                      messages_per_second=5, subscriptions_per_hour=0, connects_per_second=10, connects_per_5_minutes=300,
                      connection_age_s=23 * 3600, requests_per_minute=6000, request_window_s=60, shared_by_markets=False),
        heartbeat=Heartbeat(interval_s=0, text=None), stale_after_s=60, history_request=spot_history_request,
        history=HistoryDepth(rows_per_request=1000, pages=True, reach_s=math.inf),
        instruments_requests=[HttpRequest("/api/v3/exchangeInfo", weight=20)],
        volumes=Volumes(HttpRequest("/api/v3/ticker/24hr", {"type": "MINI"}, weight=80), parse_volumes)),
    _venue(FUTURES, ws_url="wss://fstream.binance.com/public/ws", **FUTURES_FACTS),
    _venue(FUTURES, "aggTrade", variant="agg_trade", ws_url="wss://fstream.binance.com/market/ws", **FUTURES_FACTS),
]


@hookimpl
def exchange_venues() -> list[Venue]:
    """Return both markets, futures also by aggregated trades."""
    return VENUES
