"""Bybit v5 spot and linear USDT perpetuals: every trade, from `publicTrade`.

Documents: bybit-exchange/docs v5 websocket/public/trade, wss-authentication, market/instrument, market/recent-trade,
rate-limit (2026-07-24), and sessions recorded in 2026-08 and 2026-09. Checked 2026-11-21.

Symbols: `BTCUSDT`, spelt alike on both markets; only the address tells which one it is. Multipliers are part of the base,
in front (1000PEPE) or behind (SHIB1000). Ids: on linear a UUID; on spot a number that ascends and skips. `seq`
ascends, skips, and is shared by trades of one match. Times: ms. Quantities: base units on both.
Side: `S`, the taker's. Block (`BT`) and RPI trades are trades, flagged.
Quirks: `type` is always "snapshot" and the data live; nothing is replayed on subscribing. A spot request takes 10 topics.
One bad topic refuses its whole request; so does one subscribed already, which goes on flowing. A pong says op `ping`.
Limits: topics of a connection may have 21,000 characters together; 500 connects in 5 minutes and 600 REST requests in 5 s, for
both markets together, which have one domain. How many messages a second are allowed is not documented; a connection has
no announced age.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, TypeVar

import msgspec
from pumpwatch_plugins.exchanges.bybit_lists import instruments_of, next_linear, parse_instruments, result_in, volumes_of

from pumpwatch import (
    FUTURES,
    NO_SEQUENCE,
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
    Limits,
    QuantityUnit,
    Venue,
    hookimpl,
)

TOPIC = "publicTrade."
TOPICS_NAMED = re.compile(r"publicTrade\.([^\s,]+)")
BLOCK, RPI = Flag.BLOCK.value, Flag.RPI.value
RECENT = "/v5/market/recent-trade"
PING = '{{"req_id":"{}","op":"ping"}}'
CATEGORY = {SPOT: "spot", FUTURES: "linear"}

Id = TypeVar("Id", int, str)


class LinearTrade(msgspec.Struct, gc=False, kw_only=True):
    """A trade with its fields in the order they come in, which decodes faster; numbers in text become floats."""

    T: int
    s: str
    S: Literal["Buy", "Sell"]
    v: float
    p: float
    i: str
    BT: bool = False
    RPI: bool = False
    seq: int = NO_SEQUENCE


class SpotTrade(msgspec.Struct, gc=False, kw_only=True):
    """The same on spot."""

    i: int
    T: int
    p: float
    v: float
    S: Literal["Buy", "Sell"]
    seq: int = NO_SEQUENCE
    s: str
    BT: bool = False
    RPI: bool = False


Kind = TypeVar("Kind", LinearTrade, SpotTrade)


class Message(msgspec.Struct, Generic[Kind], gc=False):
    """A frame: up to 1,024 trades of a symbol."""

    topic: str
    data: list[Kind]


class Row(msgspec.Struct, Generic[Id], gc=False):
    """The same in the REST history."""

    T: int = msgspec.field(name="time")
    S: Literal["Buy", "Sell"] = msgspec.field(name="side")
    v: float = msgspec.field(name="size")
    p: float = msgspec.field(name="price")
    i: Id = msgspec.field(name="execId")
    s: str = msgspec.field(name="symbol")
    BT: bool = msgspec.field(name="isBlockTrade", default=False)
    RPI: bool = msgspec.field(name="isRPITrade", default=False)
    seq: int = NO_SEQUENCE


def _topics(method: str) -> Callable[[Sequence[str], int], str]:
    def frame(symbols: Sequence[str], request_id: int) -> str:
        args = [TOPIC + symbol for symbol in symbols]
        return msgspec.json.encode({"req_id": str(request_id), "op": method, "args": args}).decode()

    return frame


def _parser(frames: type[list[Message[Any]]]) -> Callable[[bytes | memoryview, Columns], None]:
    decode = msgspec.json.Decoder(frames, strict=False).decode

    def parse(text: bytes | memoryview, columns: Columns) -> None:
        """Append the trades of a JSON array of `publicTrade` frames."""
        messages = decode(text)
        if {message.topic[:12] for message in messages} - {TOPIC}:
            raise BadFrame("another topic's data")
        trades: list[LinearTrade | SpotTrade] = []
        for message in messages:
            trades += message.data
        counts = [len(message.data) for message in messages]
        if 0 in counts:
            raise BadFrame("a frame without a trade")
        if len(trades) != len(messages):
            columns.counts = counts
        _fill(trades, columns)

    return parse


def _fill(trades: Sequence[LinearTrade | SpotTrade | Row[Any]], columns: Columns) -> None:
    ids: list[Any] = [trade.i for trade in trades]
    if ids and (not all(ids) if isinstance(ids[0], str) else min(ids) < 0):
        raise BadFrame("a trade without an id")
    columns.trade_id, columns.symbol = ids, [trade.s for trade in trades]
    columns.price, columns.quantity = [trade.p for trade in trades], [trade.v for trade in trades]
    columns.timestamp = [trade.T for trade in trades]
    columns.sell = [trade.S == "Sell" for trade in trades]
    columns.sequence_number = [trade.seq for trade in trades]
    columns.flags = {row: BLOCK * trade.BT | RPI * trade.RPI for row, trade in enumerate(trades) if trade.RPI or trade.BT}


def read_control(frame: bytes) -> Control | None:
    """Read a frame that is no trade: acknowledgement, refusal, pong, or another topic's data."""
    message = msgspec.json.decode(frame)
    if not isinstance(message, dict):
        return None
    topic = message.get("topic")
    if isinstance(topic, str):
        if topic.startswith(TOPIC):
            return Control(ControlKind.OTHER, reason="no trades") if message.get("data") == [] else None
        return Control(ControlKind.OTHER, reason=topic)
    text = str(message.get("ret_msg", ""))
    if message.get("op") == "pong" or text == "pong":
        return Control(ControlKind.PONG)
    if not isinstance(message.get("success"), bool):
        return None
    number = message.get("req_id")
    request_id = int(number) if isinstance(number, str) and number.isdecimal() else None
    if message["success"]:
        return Control(ControlKind.ACK, request_id)
    named = tuple(TOPICS_NAMED.findall(text))
    if "already subscribed" in text and named:  # that one flows; the rest of its request does not
        return Control(ControlKind.ACK, request_id, named, text)
    return Control(ControlKind.REFUSAL, request_id, named, text)


def _history(category: str, limit: int) -> Callable[[HistoryQuery], HttpRequest]:
    def request(query: HistoryQuery) -> HttpRequest:
        """The newest rows, whatever is asked: there is no paging."""
        return HttpRequest(RECENT, {"category": category, "symbol": query.symbol, "limit": limit})

    return request


def _history_parser(rows: type[list[Row[Any]]]) -> Callable[[bytes, str, Columns], None]:
    def parse_history(body: bytes, symbol: str, columns: Columns) -> None:
        """Append the rows of recent-trade, newest first as they come."""
        _fill(msgspec.convert(result_in(body)["list"], rows, strict=False), columns)

    return parse_history


def _venue(market_type: str, symbols_per_message: int, history_rows: int, **facts: Any) -> Venue:
    category = CATEGORY[market_type]
    return Venue(
        exchange="bybit", market_type=market_type, ws_url=f"wss://stream.bybit.com/v5/public/{category}",
        rest_url="https://api.bybit.com", headers={}, heartbeat=Heartbeat(interval_s=20, text=PING.format), stale_after_s=60,
        limits=Limits(symbols_per_connection=600, symbols_per_message=symbols_per_message, message_bytes=20_000,
                      connection_bytes=21_000, messages_per_second=10, subscriptions_per_hour=0, connects_per_second=5,
                      connects_per_5_minutes=500, connection_age_s=math.inf, requests_per_minute=7200, request_window_s=5,
                      shared_by_markets=True),
        quantity_unit=QuantityUnit.BASE, timestamp_unit_ns=1_000_000, subscribe=_topics("subscribe"),
        unsubscribe=_topics("unsubscribe"), read_control=read_control, instruments_requests=[instruments_of(category)],
        volumes=volumes_of(category),
        parse_instruments=parse_instruments, history=HistoryDepth(rows_per_request=history_rows, pages=False, reach_s=0),
        history_request=_history(category, history_rows), **facts,
    )


VENUES = [
    _venue(SPOT, 10, 60, id_kind=IdKind.MONOTONIC, parse=_parser(list[Message[SpotTrade]]),
           parse_history=_history_parser(list[Row[int]])),
    _venue(FUTURES, 100, 1000, id_kind=IdKind.UNIQUE, parse=_parser(list[Message[LinearTrade]]),
           parse_history=_history_parser(list[Row[str]]), next_instruments=next_linear),
]


@hookimpl
def exchange_venues() -> list[Venue]:
    return VENUES
