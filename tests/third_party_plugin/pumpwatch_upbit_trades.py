"""Upbit's KRW market: every trade, from the public WebSocket. The Korean side of a listing.

Documents: docs.upbit.com/kr websocket-guide, websocket-trade, list-subscriptions, rate-limits (2026-10-07) and the
reference of market/all and trades/ticks. Checked 2026-11-21.

Symbols: KRW-BTC, quote first. Ids: `sequential_id`, unique, and by the documents no promise of order. Times:
`trade_timestamp` is the trade's, `timestamp` the frame's, both ms. Side: `ask_bid` is the taker's, ASK sells.
Quirks: all frames are binary. A request is not acknowledged, names all codes of its connection, and takes the place of the
one before. The last trade of each code comes first, as SNAPSHOT. Errors carry no ticket. After a text PING the server says
{"status":"UP"} every 10 s; 120 s of silence end the connection. An Origin header lowers the limits to one request in 10 s.
Limits are per second: 5 connections an address, 5 messages (and 100 a minute) a connection, 10 REST requests. How many
codes a request may hold and how long a connection may live is not documented: what stands here is cautious.
History: the newest 500; a time of day without its date is all that older ones can be asked for by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from pumpwatch import (
    SPOT,
    Columns,
    Control,
    ControlKind,
    Heartbeat,
    HistoryDepth,
    HistoryQuery,
    HttpRequest,
    IdKind,
    Instrument,
    Limits,
    QuantityUnit,
    Venue,
    hookimpl,
)

QUOTE = "KRW"
Id = Annotated[int, msgspec.Meta(ge=0)]
OTHER_TYPES = ("ticker", "orderbook", "candle.")


class Trade(msgspec.Struct, gc=False):
    """A trade frame in the format DEFAULT."""

    type: Literal["trade"]
    code: str
    trade_timestamp: int
    trade_price: float
    trade_volume: float
    ask_bid: Literal["ASK", "BID"]
    sequential_id: Id
    stream_type: Literal["REALTIME", "SNAPSHOT"]


class Tick(msgspec.Struct, gc=False):
    """A trade of trades/ticks."""

    market: str
    timestamp: int
    trade_price: float
    trade_volume: float
    ask_bid: Literal["ASK", "BID"]
    sequential_id: Id


class Market(msgspec.Struct, gc=False):
    """A row of market/all."""

    market: str


_trades = msgspec.json.Decoder(list[Trade], strict=False)
_ticks = msgspec.json.Decoder(list[Tick], strict=False)
_markets = msgspec.json.Decoder(list[Market])


def subscribe(symbols: Sequence[str], request_id: int) -> str:
    """Return the request for these codes; it replaces the one before."""
    fields = [{"ticket": str(request_id)}, {"type": "trade", "codes": list(symbols)}, {"format": "DEFAULT"}]
    return msgspec.json.encode(fields).decode()


def ping(now_ns: int) -> str:
    """Return the text frame that keeps the connection open and gets an answer."""
    return "PING"


def parse(text: bytes | memoryview, columns: Columns) -> None:
    """Append the trades of a JSON array of frames."""
    trades = _trades.decode(text)
    columns.symbol = [trade.code for trade in trades]
    columns.price = [trade.trade_price for trade in trades]
    columns.quantity = [trade.trade_volume for trade in trades]
    columns.sell = [trade.ask_bid == "ASK" for trade in trades]
    columns.trade_id = [trade.sequential_id for trade in trades]
    columns.timestamp = [trade.trade_timestamp for trade in trades]
    columns.past = [row for row, trade in enumerate(trades) if trade.stream_type == "SNAPSHOT"]


def read_control(frame: bytes) -> Control | None:
    """Read a frame that is not a trade; None for an unknown one."""
    message = msgspec.json.decode(frame)
    if not isinstance(message, dict):
        return None
    if message.get("status") == "UP":
        return Control(ControlKind.PONG)
    error = message.get("error")
    if isinstance(error, dict):
        return Control(ControlKind.REFUSAL, reason=f"{error.get('name')} {error.get('message')}")
    kind = message.get("type", message.get("method"))
    if isinstance(kind, str) and (kind == "LIST_SUBSCRIPTIONS" or kind.startswith(OTHER_TYPES)):
        return Control(ControlKind.OTHER, reason=kind)
    return None


def parse_instruments(bodies: Sequence[bytes]) -> list[Instrument]:
    """Read market/all: the symbols that trade against KRW. Delisted ones are not in it."""
    pairs = [(row.market, *row.market.split("-", 1)) for row in _markets.decode(bodies[0])]
    return [Instrument(symbol=symbol, base=base, quote=quote) for symbol, quote, base in pairs if quote == QUOTE]


def history_request(query: HistoryQuery) -> HttpRequest:
    """Return the request for the newest 500; others cannot be requested."""
    return HttpRequest("/v1/trades/ticks", {"market": query.symbol, "count": 500})


def parse_history(body: bytes, symbol: str, columns: Columns) -> None:
    """Append the rows of trades/ticks, which has the newest first."""
    rows = _ticks.decode(body)[::-1]
    columns.symbol = [row.market for row in rows]
    columns.price = [row.trade_price for row in rows]
    columns.quantity = [row.trade_volume for row in rows]
    columns.sell = [row.ask_bid == "ASK" for row in rows]
    columns.trade_id = [row.sequential_id for row in rows]
    columns.timestamp = [row.timestamp for row in rows]


VENUES = [
    Venue(
        exchange="upbit", market_type=SPOT, ws_url="wss://api.upbit.com/websocket/v1", rest_url="https://api.upbit.com",
        headers={}, heartbeat=Heartbeat(interval_s=30, text=ping), stale_after_s=75, id_kind=IdKind.UNIQUE,
        quantity_unit=QuantityUnit.BASE, timestamp_unit_ns=1_000_000, acknowledges=False, replaces=True,
        limits=Limits(symbols_per_connection=150, symbols_per_message=150, message_bytes=8000, connection_bytes=0,
                      messages_per_second=5, subscriptions_per_hour=0, connects_per_second=5, connects_per_5_minutes=300,
                      connection_age_s=23 * 3600, requests_per_minute=600, request_window_s=60, shared_by_markets=False),
        history=HistoryDepth(rows_per_request=500, pages=False, reach_s=0),
        subscribe=subscribe, unsubscribe=subscribe, parse=parse, read_control=read_control,
        instruments_requests=[HttpRequest("/v1/market/all")], parse_instruments=parse_instruments,
        history_request=history_request, parse_history=parse_history,
    ),
]


@hookimpl
def exchange_venues() -> list[Venue]:
    """Return the KRW market."""
    return VENUES
