"""OKX spot and USDT perpetual swaps: every trade, from the channel `trades-all`.

Documents: OKX API v5, "All trades channel", "Connection count limit", "Notification", "Get instruments", "Get trades
history", "Get candlesticks history", "Get order book", "Get tickers" (as of 2026-08-09); recordings of 2022-05, 2023, 2025
and 2026-09. Checked 2026-11-27.

Symbols: `SOMI-USDT`, `SOMI-USDT-SWAP`, the same everywhere. The row of a swap has empty base and quote; they are in
`instFamily` (formerly `uly`).
Ids: `tradeId`, contiguous per symbol. Times: ms, as text like every number. Side: the taker's. Quantity: base units on
spot; contracts on swaps, also fractions, of ctVal x ctMult base units each.
Quirks: `trades-all` is on `/business`. `trades` on `/public` joins the fills of an order (`count` of them, with the last
one's id); frames of it are read and flagged here, but it is never subscribed. Each symbol of a subscription is acknowledged
or rejected separately. Subscribing pushes the last trade, at any age. Ping and pong are bare words, not JSON, and a ping is
due within 30 s of silence. Notice 64008 announces the end of the connection.
Limits: 480 subscriptions and unsubscriptions an hour per connection, so at most half as many symbols are placed on one.
64 KB of arguments per request in the newer text, 4,096 bytes in the older one, which is used. 3 connects a second per
address, for both markets together; REST 20 requests in 2 seconds. Limits of messages or age are not documented; the values
here are our choice.
History: three months, 100 rows a page, newest first, before an id (type 1) or a time (type 2). Paging by time cannot advance
if more than 100 trades have one time; paging by id can. Candles: history-candles, newest first, between `before` and
`after`, both exclusive, 100 per request: clients use 100 or 300, and a shorter answer would make minutes look quiet. `vol`
counts contracts on swaps. A candle that is not `confirm`ed is skipped. It is not documented whether candles count block
trades, which `trades-all` omits. Books: `books`, up to 400 levels, as rows of price, quantity (in contracts on swaps), a 0
and the number of orders; 40 requests in 2 seconds. Tickers: `ticker`; `vol24h` counts contracts on swaps. `volCcy24h` is in
the quote only on spot, so swaps have no quote volume.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec

from pumpwatch import (
    FUTURES,
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

NS_PER_MS = 1_000_000
HISTORY, CANDLES, CANDLE_ROWS = "/api/v5/market/history-trades", "/api/v5/market/history-candles", 100
CHANNEL = "trades-all"
TRADE_CHANNELS = (CHANNEL, "trades")
UPGRADE = "64008"
KNOWN_EVENTS = ("notice", "login", "channel-conn-count", "channel-conn-count-error")  # other than answers to requests
REJECTED_SYMBOL = re.compile(r"instId[\"']?\s*[:=]\s*[\"']?([^\s,\"'}]+)")


class Argument(msgspec.Struct, gc=False):
    """The subscription that a frame belongs to."""

    channel: Literal["trades-all", "trades"]


class Trade(msgspec.Struct, gc=False):
    """A trade of the stream or the history; numeric strings are decoded to numbers."""

    instId: str
    tradeId: int
    px: float
    sz: float
    side: Literal["buy", "sell"]
    ts: int
    count: int = 1


class SingleTradeFrame(msgspec.Struct, gc=False):
    """A frame as documented: "every update contains only one trade"."""

    arg: Argument
    data: tuple[Trade]


class TradesFrame(msgspec.Struct, gc=False):
    """A frame with any number of trades."""

    arg: Argument
    data: list[Trade]


class HistoryAnswer(msgspec.Struct, gc=False):
    """The answer of the trade history."""

    code: str
    data: list[Trade]
    msg: str = ""


class Row(msgspec.Struct, array_like=True, gc=False):
    """A candle. vol: base units or contracts; volCcy: quote or base units."""

    ts: int
    o: float
    h: float
    l: float  # noqa: E741 - the venue's name
    c: float
    vol: float
    volCcy: float
    volCcyQuote: float
    confirm: Literal["0", "1"]


class CandlesAnswer(msgspec.Struct, gc=False):
    """The answer of the candles' history."""

    code: str
    data: list[Row]
    msg: str = ""


_single = msgspec.json.Decoder(list[SingleTradeFrame], strict=False)
_several = msgspec.json.Decoder(list[TradesFrame], strict=False)
_history = msgspec.json.Decoder(HistoryAnswer, strict=False)
_candles = msgspec.json.Decoder(CandlesAnswer, strict=False)


def _request(method: str) -> Callable[[Sequence[str], int], str]:
    def frame(symbols: Sequence[str], request_id: int) -> str:
        arguments = [{"channel": CHANNEL, "instId": symbol} for symbol in symbols]
        return msgspec.json.encode({"id": str(request_id), "op": method, "args": arguments}).decode()

    return frame


def ping(now_ns: int) -> str:
    """Return the bare word."""
    return "ping"


def parse(text: bytes | memoryview, columns: Columns) -> None:
    """Append the trades of a JSON array of frames of `trades-all` (or `trades`)."""
    try:
        trades = [frame.data[0] for frame in _single.decode(text)]
    except msgspec.ValidationError:
        frames = _several.decode(text)
        trades = [trade for frame in frames for trade in frame.data]
        columns.counts = [len(frame.data) for frame in frames]
        if 0 in columns.counts:
            raise BadFrame("a frame without a trade") from None
    _append(trades, columns)
    columns.symbol = [trade.instId for trade in trades]


def _append(trades: list[Trade], columns: Columns) -> None:
    columns.trade_id = ids = [trade.tradeId for trade in trades]
    columns.price = [trade.px for trade in trades]
    columns.quantity = [trade.sz for trade in trades]
    columns.timestamp = [trade.ts for trade in trades]
    columns.sell = [trade.side == "sell" for trade in trades]
    if ids and min(ids) < 0:
        raise BadFrame("a negative id")
    fills = [trade.count for trade in trades]
    if fills.count(1) != len(fills):
        columns.flags = {row: Flag.AGGREGATED.value for row, count in enumerate(fills) if count != 1}


def read_control(frame: bytes) -> Control | None:
    """Read a frame that is not a trade: pong, acknowledgement or rejection of a symbol, notice, or another channel's data."""
    if frame.strip() == b"pong":
        return Control(ControlKind.PONG)
    message = msgspec.json.decode(frame)
    if not isinstance(message, dict):
        return None
    event = message.get("event")
    if event is None:
        return _other_data(message)
    number = message.get("id")
    request_id = int(number) if isinstance(number, str) and number.isdecimal() else None
    argument = message.get("arg")
    symbol = argument.get("instId") if isinstance(argument, dict) else None
    symbols = (symbol,) if isinstance(symbol, str) else ()
    if event in ("subscribe", "unsubscribe"):
        return Control(ControlKind.ACK, request_id, symbols)
    reason = f"{message.get('code')} {message.get('msg')}"
    if event == "error":
        return Control(ControlKind.REFUSAL, request_id, symbols or _named_in(str(message.get("msg"))), reason)
    if event == "notice" and str(message.get("code")) == UPGRADE:
        return Control(ControlKind.RECONNECT, reason=reason)
    return Control(ControlKind.OTHER, reason=event) if event in KNOWN_EVENTS else None


def _named_in(text: str) -> tuple[str, ...]:
    """Return the symbol that a rejection names, empty if it is about the whole request."""
    found = set(REJECTED_SYMBOL.findall(text))
    return (found.pop(),) if len(found) == 1 else ()


def _other_data(message: dict[str, Any]) -> Control | None:
    argument, table = message.get("arg"), message.get("table")
    if isinstance(argument, dict) and "data" in message and argument.get("channel") not in TRADE_CHANNELS:
        return Control(ControlKind.OTHER, reason=str(argument.get("channel")))
    if isinstance(table, str) and not table.endswith("/trade"):  # the protocol before v5
        return Control(ControlKind.OTHER, reason=table)
    return None if message else Control(ControlKind.OTHER, reason="an empty message")


def _data_in(body: bytes) -> list[dict[str, Any]]:
    """Return the rows of an answer. Raises BadFrame for an error, which may come with HTTP status 200."""
    answer = msgspec.json.decode(body)
    if str(answer["code"]) != "0":
        raise BadFrame(f"{answer['code']} {answer.get('msg')}")
    return answer["data"]  # type: ignore[no-any-return]


def parse_instruments(bodies: Sequence[bytes]) -> list[Instrument]:
    """Read the live instruments of one type against USDT, spot or linear perpetual."""
    rows = [row for row in _data_in(bodies[0]) if row["state"] == "live"]
    spot = [_instrument(row["instId"], row["baseCcy"], 1.0) for row in rows
            if row["instType"] == "SPOT" and row["quoteCcy"] == "USDT"]
    swaps = [(row, *(row.get("instFamily") or row["uly"]).rsplit("-", 1)) for row in rows
             if row["instType"] == "SWAP" and row["ctType"] == "linear" and row["settleCcy"] == "USDT"]
    return spot + [_instrument(row["instId"], base, float(Decimal(row["ctVal"]) * Decimal(row["ctMult"] or 1)))
                   for row, base, quote in swaps if quote == "USDT"]


def _instrument(symbol: str, base: str, contract_size: float) -> Instrument:
    return Instrument(symbol=symbol, base=base, quote="USDT", multiplier=split_multiplier(base), contract_size=contract_size)


def parse_volumes(body: bytes) -> dict[str, float]:
    """Read the tickers of one type: symbol -> USDT traded in 24 hours; `volCcy24h` is in USDT on spot, in the base on swaps."""
    return {row["instId"]: float(row["volCcy24h"] or 0) * (float(row["last"] or 0) if row["instType"] == "SWAP" else 1.0)
            for row in _data_in(body)}


def history_request(query: HistoryQuery) -> HttpRequest:
    """Request the 100 rows up to an id, or before a time, newest first, of the last three months."""
    params: dict[str, str | int] = {"instId": query.symbol, "limit": 100}
    if query.last_id >= 0:
        return HttpRequest(HISTORY, params | {"type": 1, "after": query.last_id + 1})
    if query.first_id >= 0:
        return HttpRequest(HISTORY, params | {"type": 1})
    return HttpRequest(HISTORY, params | {"type": 2, "after": -(-query.end_ns // NS_PER_MS)})


def parse_history(body: bytes, symbol: str, columns: Columns) -> None:
    """Append the rows of history-trades (or trades)."""
    answer = _history.decode(body)
    if answer.code != "0":
        raise BadFrame(f"{answer.code} {answer.msg}")
    _append(answer.data, columns)
    columns.symbol = [symbol] * len(answer.data)


def candles_request(symbol: str, start_ns: int, end_ns: int) -> HttpRequest:
    """Request up to 100 minutes."""
    start, end = -(-start_ns // NS_PER_MS), -(-end_ns // NS_PER_MS)
    rows = max(1, min(CANDLE_ROWS, -(-(end - start) // 60_000)))
    return HttpRequest(CANDLES, {"instId": symbol, "bar": "1m", "before": start - 1, "after": end, "limit": rows})


def parse_candles(body: bytes, instrument: Instrument) -> list[Candle]:
    """Read history-candles, which have no number of trades; contracts become base units."""
    answer = _candles.decode(body)
    if answer.code != "0":
        raise BadFrame(f"{answer.code} {answer.msg}")
    return ascending_candles(
        Candle(start_ns=row.ts * NS_PER_MS, open=row.o, high=row.h, low=row.l, close=row.c,
               volume=row.vol * instrument.contract_size, quote_volume=row.volCcyQuote)
        for row in answer.data if row.confirm == "1")


def _one_in(body: bytes) -> dict[str, Any]:
    row, = _data_in(body)
    return row


BOOKS = OrderBooks(request=lambda symbol: HttpRequest("/api/v5/market/books", {"instId": symbol, "sz": 50}),
                   parse=book_reader(_one_in, time=("ts", NS_PER_MS)))


def _tickers(**names: str) -> Tickers:
    return tickers_at("/api/v5/market/ticker", "instId", data=_one_in, symbol="instId", time=("ts", NS_PER_MS), names={
        "price": "last", "open_24h": "open24h", "high": "high24h", "low": "low24h", "volume": "vol24h", "bid": "bidPx",
        "ask": "askPx", **names})


def _venue(market_type: str, instrument_type: str, quantity_unit: QuantityUnit) -> Venue:
    return Venue(
        exchange="okx", market_type=market_type, ws_url="wss://ws.okx.com:8443/ws/v5/business", rest_url="https://www.okx.com",
        headers={}, heartbeat=Heartbeat(interval_s=20, text=ping), stale_after_s=60, id_kind=IdKind.CONTIGUOUS,
        quantity_unit=quantity_unit, timestamp_unit_ns=1_000_000, answers_by_symbol=True, repeats_last=True,
        limits=Limits(symbols_per_connection=240, symbols_per_message=60, message_bytes=4096, connection_bytes=0,
                      messages_per_second=5, subscriptions_per_hour=480, connects_per_second=3, connects_per_5_minutes=300,
                      connection_age_s=23 * 3600, requests_per_minute=600, request_window_s=2, shared_by_markets=True),
        history=HistoryDepth(rows_per_request=100, pages=True, reach_s=90 * 86_400, by_id=True),
        candles=Candles(request=candles_request, parse=parse_candles, rows_per_request=CANDLE_ROWS, reach_s=math.inf,
                        tolerance=0.0, why=""), books=BOOKS,
        tickers=_tickers(quote_volume="volCcy24h") if market_type == SPOT else _tickers(),
        subscribe=_request("subscribe"), unsubscribe=_request("unsubscribe"), parse=parse, read_control=read_control,
        instruments_requests=[HttpRequest("/api/v5/public/instruments", {"instType": instrument_type})],
        volumes=Volumes(HttpRequest("/api/v5/market/tickers", {"instType": instrument_type}), parse_volumes),
        parse_instruments=parse_instruments, history_request=history_request, parse_history=parse_history,
    )


VENUES = [_venue(SPOT, "SPOT", QuantityUnit.BASE), _venue(FUTURES, "SWAP", QuantityUnit.CONTRACTS)]


@hookimpl
def exchange_venues() -> list[Venue]:
    """Return both markets."""
    return VENUES
