"""Bybit v5 spot and linear USDT perpetuals: every trade, from `publicTrade`.

Documents: bybit-exchange/docs v5 websocket/public/trade, wss-authentication, market/instrument, market/tickers,
market/recent-trade, market/kline, market/orderbook, rate-limit (2026-07-24), and sessions recorded in 2026-08 and 2026-09.
Checked 2026-11-27.

Symbols: `BTCUSDT` on both markets; only the address distinguishes them. A multiplier is part of the base, at its start
(1000PEPE) or end (SHIB1000).
Ids: a UUID on linear, an ascending number that skips on spot. `seq` ascends, skips, and is shared by the trades of one
match. Times: ms. Quantities: base units on both markets.
Side: `S`, the taker's. Block trades (`BT`) and RPI trades are kept and flagged.
Quirks: `type` is always "snapshot" but the data are live; subscribing replays nothing. A spot request takes 10 topics.
One bad topic rejects its whole request. So does a topic that is already subscribed, which stays subscribed. A pong has op
`ping`. The instrument lists have no volumes, the tickers do. The linear list has more than 500 rows and is paged; its
cursor is percent-encoded.
Limits: the topics of a connection may have 21,000 characters together. Both markets share one domain and with it 500
connects in 5 minutes and 600 REST requests in 5 s. The messages allowed per second are not documented, nor is a
connection's age.
History: the newest 60 trades on spot and 1,000 on linear, without paging. Candles: kline, newest first, 1,000 per request from
`start` to `end`, both inclusive, including the current minute; volumes in coins on both markets. It is not documented whether
they count block trades. Books: orderbook, 50 levels on both markets; `ts` is the system's time. Tickers: of one symbol, with
the time of the answer and without a number of trades.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import unquote

import msgspec

from pumpwatch import (
    FUTURES,
    NO_SEQUENCE,
    SPOT,
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
    Tickers,
    Venue,
    Volumes,
    ascending_candles,
    book_reader,
    hookimpl,
    split_multiplier,
    tickers_at,
)

TOPIC = "publicTrade."
NAMED_TOPICS = re.compile(r"publicTrade\.([^\s,]+)")
BLOCK, RPI = Flag.BLOCK.value, Flag.RPI.value
CATEGORY = {SPOT: "spot", FUTURES: "linear"}
TRADING = ("Trading", "1")  # spot had numbers in 2023
INSTRUMENTS, TICKERS, RECENT = "/v5/market/instruments-info", "/v5/market/tickers", "/v5/market/recent-trade"
KLINE, CANDLE_ROWS, NS_PER_MS, BOOK = "/v5/market/kline", 1000, 1_000_000, "/v5/market/orderbook"
PING = '{{"req_id":"{}","op":"ping"}}'

Id = TypeVar("Id", int, str)


class LinearTrade(msgspec.Struct, gc=False, kw_only=True):
    """A trade, with fields in the venue's order, for faster decoding; numeric strings become floats."""

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


Trade = TypeVar("Trade", LinearTrade, SpotTrade)


class Message(msgspec.Struct, Generic[Trade], gc=False):
    """A frame: up to 1,024 trades of a symbol."""

    topic: str
    data: list[Trade]


class HistoryRow(msgspec.Struct, Generic[Id], gc=False):
    """A trade of the REST history, its fields renamed to those of the stream."""

    T: int = msgspec.field(name="time")
    S: Literal["Buy", "Sell"] = msgspec.field(name="side")
    v: float = msgspec.field(name="size")
    p: float = msgspec.field(name="price")
    i: Id = msgspec.field(name="execId")
    s: str = msgspec.field(name="symbol")
    BT: bool = msgspec.field(name="isBlockTrade", default=False)
    RPI: bool = msgspec.field(name="isRPITrade", default=False)
    seq: int = NO_SEQUENCE


class Kline(msgspec.Struct, array_like=True, gc=False):
    """A candle."""

    start: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    turnover: float


def _request(method: str) -> Callable[[Sequence[str], int], str]:
    def frame(symbols: Sequence[str], request_id: int) -> str:
        topics = [TOPIC + symbol for symbol in symbols]
        return msgspec.json.encode({"req_id": str(request_id), "op": method, "args": topics}).decode()

    return frame


def _parser(frames: type[list[Message[Any]]]) -> Callable[[bytes | memoryview, Columns], None]:
    decode = msgspec.json.Decoder(frames, strict=False).decode

    def parse(text: bytes | memoryview, columns: Columns) -> None:
        """Append the trades of a JSON array of `publicTrade` frames."""
        messages = decode(text)
        if {message.topic[:12] for message in messages} - {TOPIC}:
            raise BadFrame("data of another topic")
        trades: list[LinearTrade | SpotTrade] = []
        for message in messages:
            trades += message.data
        counts = [len(message.data) for message in messages]
        if 0 in counts:
            raise BadFrame("a frame without a trade")
        if len(trades) != len(messages):
            columns.counts = counts
        _append(trades, columns)

    return parse


def _append(trades: Sequence[LinearTrade | SpotTrade | HistoryRow[Any]], columns: Columns) -> None:
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
    """Read a frame that is not a trade: acknowledgement, rejection, pong, or another topic's data."""
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
    named = tuple(NAMED_TOPICS.findall(text))
    if "already subscribed" in text and named:  # only that symbol is subscribed; the rest of its request was rejected
        return Control(ControlKind.ACK, request_id, named, text)
    return Control(ControlKind.REFUSAL, request_id, named, text)


def _result_in(body: bytes) -> dict[str, Any]:
    """Return the result inside an answer; some recordings hold the result alone."""
    answer: dict[str, Any] = msgspec.json.decode(body)
    if answer.get("retCode"):
        raise BadFrame(f"retCode {answer['retCode']}: {answer.get('retMsg')}")
    return answer.get("result", answer)  # type: ignore[no-any-return]


def _instruments_request(category: str, cursor: str = "") -> HttpRequest:
    """Return the request for a page of the list: the first page, or the one at a cursor."""
    page = {"cursor": unquote(cursor)} if cursor else {}
    return HttpRequest(INSTRUMENTS, {"category": category, "limit": 1000, **page})


def next_linear(body: bytes) -> HttpRequest | None:
    """Return the request for the next page, None after the last."""
    cursor = _result_in(body).get("nextPageCursor")
    return _instruments_request("linear", cursor) if cursor else None


def parse_instruments(bodies: Sequence[bytes]) -> list[Instrument]:
    """Read every page: symbols that trade against USDT, spot or perpetual, without dated and USDC contracts."""
    rows = [row for body in bodies for row in _result_in(body)["list"]]
    return [
        Instrument(symbol=row["symbol"], base=row["baseCoin"], quote=row["quoteCoin"],
                   multiplier=split_multiplier(row["baseCoin"]))
        for row in rows
        if row["status"] in TRADING and row["quoteCoin"] == "USDT" and row.get("settleCoin", "USDT") == "USDT"
        and row.get("contractType", "LinearPerpetual") == "LinearPerpetual"
    ]


def parse_volumes(body: bytes) -> dict[str, float]:
    """Read the tickers of a category: symbol -> USDT traded in 24 hours."""
    return {row["symbol"]: float(row["turnover24h"] or 0) for row in _result_in(body)["list"]}


def _history_request(category: str, limit: int) -> Callable[[HistoryQuery], HttpRequest]:
    def request(query: HistoryQuery) -> HttpRequest:
        """Request the newest rows for any query: the venue does not page."""
        return HttpRequest(RECENT, {"category": category, "symbol": query.symbol, "limit": limit})

    return request


def _history_parser(rows: type[list[HistoryRow[Any]]]) -> Callable[[bytes, str, Columns], None]:
    def parse_history(body: bytes, symbol: str, columns: Columns) -> None:
        """Append the rows of recent-trade, newest first as they come."""
        _append(msgspec.convert(_result_in(body)["list"], rows, strict=False), columns)

    return parse_history


def _candles_request(category: str) -> Callable[[str, int, int], HttpRequest]:
    def request(symbol: str, start_ns: int, end_ns: int) -> HttpRequest:
        """Request up to 1,000 minutes."""
        start, end = -(-start_ns // NS_PER_MS), -(-end_ns // NS_PER_MS) - 1
        rows = max(1, min(CANDLE_ROWS, (end - start) // 60_000 + 1))
        return HttpRequest(KLINE, {"category": category, "symbol": symbol, "interval": "1", "start": start, "end": end,
                                   "limit": rows})

    return request


def parse_candles(body: bytes, instrument: Instrument) -> list[Candle]:
    """Read kline; it has volumes in base units, and no number of trades."""
    result = _result_in(body)
    if result["symbol"] != instrument.symbol:
        raise BadFrame(f"candles of {result['symbol']!r:.80}")
    return ascending_candles(
        Candle(start_ns=row.start * NS_PER_MS, open=row.open, high=row.high, low=row.low, close=row.close, volume=row.volume,
               quote_volume=row.turnover) for row in msgspec.convert(result["list"], list[Kline], strict=False))


def _books(category: str) -> OrderBooks:
    return OrderBooks(request=lambda symbol: HttpRequest(BOOK, {"category": category, "symbol": symbol, "limit": 50}),
                      parse=book_reader(_result_in, bids="b", asks="a", time=("ts", NS_PER_MS), sequence="u", symbol="s"))


def _ticker_in(body: bytes) -> dict[str, Any]:
    ticker, = _result_in(body)["list"]
    return {**ticker, "time": msgspec.json.decode(body)["time"]}


def _tickers(category: str) -> Tickers:
    return tickers_at(TICKERS, params={"category": category}, data=_ticker_in, symbol="symbol", time=("time", NS_PER_MS), names={
        "price": "lastPrice", "open_24h": "prevPrice24h", "high": "highPrice24h", "low": "lowPrice24h", "volume": "volume24h",
        "quote_volume": "turnover24h", "bid": "bid1Price", "ask": "ask1Price"})


def _venue(market_type: str, symbols_per_message: int, history_rows: int, **facts: Any) -> Venue:
    category = CATEGORY[market_type]
    return Venue(
        exchange="bybit", market_type=market_type, ws_url=f"wss://stream.bybit.com/v5/public/{category}",
        rest_url="https://api.bybit.com", headers={}, heartbeat=Heartbeat(interval_s=20, text=PING.format), stale_after_s=60,
        limits=Limits(symbols_per_connection=600, symbols_per_message=symbols_per_message, message_bytes=20_000,
                      connection_bytes=21_000, messages_per_second=10, subscriptions_per_hour=0, connects_per_second=5,
                      connects_per_5_minutes=500, connection_age_s=math.inf, requests_per_minute=7200, request_window_s=5,
                      shared_by_markets=True),
        quantity_unit=QuantityUnit.BASE, timestamp_unit_ns=1_000_000, subscribe=_request("subscribe"),
        unsubscribe=_request("unsubscribe"), read_control=read_control, parse_instruments=parse_instruments,
        instruments_requests=[_instruments_request(category)],
        volumes=Volumes(HttpRequest(TICKERS, {"category": category}), parse_volumes),
        history=HistoryDepth(rows_per_request=history_rows, pages=False, reach_s=0),
        history_request=_history_request(category, history_rows),
        candles=Candles(request=_candles_request(category), parse=parse_candles, rows_per_request=CANDLE_ROWS, reach_s=math.inf,
                        tolerance=0.0, why=""), books=_books(category), tickers=_tickers(category), **facts,
    )


VENUES = [
    _venue(SPOT, symbols_per_message=10, history_rows=60, id_kind=IdKind.MONOTONIC, parse=_parser(list[Message[SpotTrade]]),
           parse_history=_history_parser(list[HistoryRow[int]])),
    _venue(FUTURES, symbols_per_message=100, history_rows=1000, id_kind=IdKind.UNIQUE,
           parse=_parser(list[Message[LinearTrade]]), parse_history=_history_parser(list[HistoryRow[str]]),
           next_instruments=next_linear),
]


@hookimpl
def exchange_venues() -> list[Venue]:
    """Return both markets."""
    return VENUES
