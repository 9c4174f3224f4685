"""Gate v4 spot and USDT futures: every trade, from `spot.trades` and `futures.trades`.

Documents: gate.com docs developers/apiv4/ws and futures/ws (2026-05), gateapi-python SpotApi and FuturesApi (2025-07),
frames recorded in 2026-09, limits of candles as others probed them (2026-09-06). Checked 2026-11-27.

Symbols: `BTC_USDT`, the same on both markets; some are Chinese.
Ids: contiguous per symbol: `id_market` on spot, which REST calls sequence_id, and `id` on futures. Spot frames from
before 2026 have only `id`. A spot row whose `range` spans several market ids joins several fills: it keeps its own id
and is flagged; the other ids are void.
Times: on spot text, ms with a fraction; on futures ms, in its REST history seconds with a fraction.
Side: the taker's: `side` on spot, the sign of `size` on futures. Quantities: base units on spot; contracts of
quanto_multiplier base units on futures. `is_internal`, flagged: the insurance fund or ADL took over a position.
Quirks: without the header X-Gate-Size-Decimal sizes are truncated to whole contracts. A fraction then has size 0 and no side, so
it is quarantined. One unknown symbol rejects its whole request, and the answer names it. A request has its sending time,
within 60 s of the server's. `spot.system` and `futures.system` announce a restart. Spot lists leveraged tokens.
Limits: 300 open connections per address; the number of symbols is not documented, 200 worked in probes. REST: 200 requests in
10 s for each path. The allowed connects and messages per second are not documented; the values here are our choice.
History: the newest 1,000 rows of a range of seconds, including the whole last second, for 30 days. `last_id` is not used,
because it is deprecated. If a symbol has more than 1,000 trades in one second, paging cannot advance.
Candles: 1,000 per request on spot and 2,000 on futures, both ends included, of the last 10,000 minutes. Futures count contracts;
it is not documented how fractions and takeovers count. Books: `current` is the answer's time, in seconds on futures. Tickers:
without a time; the price 24 hours ago is computed from a change in percent with two decimals. Futures count contracts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Literal, TypeVar

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

NAMES = re.compile(r"[^\s\"'`,;:()\[\]]+")
NS_PER_S, THIRTY_DAYS_S, LONGEST_RANGE = 10**9, 30 * 86_400, 10_000  # a row that spans more ids counts as damaged
CANDLE_REACH_S = 9_990 * 60  # 10,000 minutes less a margin, because the oldest expire during a request
Channel = TypeVar("Channel")
Result = TypeVar("Result")
UNIT_NS = {13: 1_000_000, 10: NS_PER_S}  # by the number of digits before the point: ms, seconds


class SpotTrade(msgspec.Struct, gc=False, kw_only=True):
    """A spot trade, with fields in the venue's order, for faster decoding; REST calls id_market sequence_id."""

    id: int
    id_market: int = -1
    create_time_ms: str
    side: Literal["buy", "sell"]
    currency_pair: str
    amount: float
    price: float
    range: str = ""
    sequence_id: int = -1


class FuturesTrade(msgspec.Struct, gc=False, kw_only=True):
    """A futures trade; size is in contracts, negative if the taker sold."""

    id: int
    size: float
    create_time: float = 0.0
    create_time_ms: int = 0
    price: float
    contract: str
    is_internal: bool = False


class Message(msgspec.Struct, Generic[Channel, Result], gc=False):
    """A frame: one trade on spot, a list of them on futures."""

    channel: Channel
    event: Literal["update"]
    result: Result


class FuturesRow(msgspec.Struct):
    """A trade of the futures' REST history; its time is kept raw, to read it exactly."""

    id: int
    price: float
    size: float
    create_time_ms: msgspec.Raw
    is_internal: bool = False


_spot = msgspec.json.Decoder(list[Message[Literal["spot.trades"], SpotTrade]], strict=False)
_futures = msgspec.json.Decoder(list[Message[Literal["futures.trades"], list[FuturesTrade]]], strict=False)
_spot_rows = msgspec.json.Decoder(list[SpotTrade], strict=False)
_futures_rows = msgspec.json.Decoder(list[FuturesRow], strict=False)
_lists = msgspec.json.Decoder(list[list[Any]])
_numbers = msgspec.json.Decoder(list[int])
_listed = msgspec.json.Decoder(list[dict[str, Any]])


def _request(channel: str, event: str) -> Callable[[Sequence[str], int], str]:
    def frame(symbols: Sequence[str], request_id: int) -> str:
        request = {"id": request_id, "channel": channel, "event": event, "payload": list(symbols)}
        return msgspec.json.encode(request).decode()

    return frame


def stamp(text: str, now_ns: int) -> str:
    """Put the sending time into a request."""
    return f'{{"time":{now_ns // NS_PER_S},{text[1:]}'


def _ping(channel: str) -> Callable[[int], str]:
    return lambda now_ns: stamp(f'{{"channel":"{channel}"}}', now_ns)


def parse_spot(text: bytes | memoryview, columns: Columns) -> None:
    """Append the trades of a JSON array of `spot.trades` frames."""
    _append_spot([message.result for message in _spot.decode(text)], columns)


def _append_spot(trades: Sequence[SpotTrade], columns: Columns) -> None:
    columns.trade_id = ids = [trade.id_market for trade in trades]
    if ids and min(ids) < 0:
        columns.trade_id = ids = [_market_id(trade) for trade in trades]
    columns.symbol = [trade.currency_pair for trade in trades]
    columns.price = [trade.price for trade in trades]
    columns.quantity = [trade.amount for trade in trades]
    columns.sell = [trade.side == "sell" for trade in trades]
    columns.timestamp = _times([trade.create_time_ms for trade in trades])
    ranges = [trade.range for trade in trades]
    joined = _joined_rows(ranges)
    if joined:
        _use_up_ids(joined, ranges, columns)


def _market_id(trade: SpotTrade) -> int:
    number = next((number for number in (trade.id_market, trade.sequence_id, trade.id) if number != -1), -1)
    if number < 0:
        raise BadFrame("a trade without an id")
    return number


def _times(texts: Sequence[str]) -> list[int]:
    """Return times in ns. Usual ones (ms with six decimals) are decoded together."""
    joined, count = ",".join(texts), len(texts)
    if len(joined) == 21 * count - 1 and joined[13::21] == "." * count and joined[20::21] == "," * (count - 1):
        times = _numbers.decode(f"[{joined.replace('.', '')}]")
        if len(times) == count:
            return times
    return [_ns(text, 13) for text in texts]


def _ns(text: str, digits: int = 0) -> int:
    """Return a time in ns, exactly. digits: the number before its point, or 0 to accept both ms and seconds."""
    whole, _, fraction = text.partition(".")
    unit = UNIT_NS.get(len(whole)) if digits in (0, len(whole)) else None
    if unit is None or not (text.isascii() and (whole + fraction).isdecimal()):
        raise BadFrame(f"a time of {text[:40]!r}")
    places = len(str(unit)) - 1
    return int(whole) * unit + int(f"{fraction[:places]:0<{places}}")


def _joined_rows(ranges: Sequence[str]) -> list[int]:
    """Return the numbers of rows whose range has more than one id."""
    if "" not in ranges:
        ends = _numbers.decode(f"[{','.join(ranges).replace('-', ',')}]")
        if len(ends) == 2 * len(ranges) and ends[::2] == ends[1::2]:
            return []
    return [row for row, text in enumerate(ranges) if text[:len(text) // 2] != text[len(text) // 2 + 1:]]


def _use_up_ids(joined: Sequence[int], ranges: Sequence[str], columns: Columns) -> None:
    """Insert void rows for the other ids in the range of each joined row."""
    ids_of: list[Sequence[int]] = [[own_id] for own_id in columns.trade_id]
    for row in joined:
        first, _, last = ranges[row].partition("-")
        span = range(int(first), int(last) + 1)
        if not 0 < len(span) <= LONGEST_RANGE:
            raise BadFrame(f"a range of {ranges[row][:60]!r}")
        if ids_of[row][0] in span:  # otherwise the range is not of market ids
            ids_of[row] = span
    own_ids = columns.trade_id
    rows = [row for row, ids in enumerate(ids_of) for _ in ids]
    for name in ("symbol", "price", "quantity", "sell", "timestamp"):
        column = getattr(columns, name)
        setattr(columns, name, [column[row] for row in rows])
    columns.trade_id = expanded = [number for ids in ids_of for number in ids]
    columns.counts = [len(ids) for ids in ids_of]
    columns.void = [place for place, row in enumerate(rows) if expanded[place] != own_ids[row]]
    columns.flags = {place: Flag.AGGREGATED.value for place, row in enumerate(rows)
                     if expanded[place] == own_ids[row] and len(ids_of[row]) > 1}


def parse_futures(text: bytes | memoryview, columns: Columns) -> None:
    """Append the trades of a JSON array of `futures.trades` frames."""
    messages = _futures.decode(text)
    trades: list[FuturesTrade] = []
    for message in messages:
        trades += message.result
    counts = [len(message.result) for message in messages]
    if 0 in counts:
        raise BadFrame("a frame without a trade")
    if len(trades) != len(messages):
        columns.counts = counts
    columns.symbol = [trade.contract for trade in trades]
    columns.timestamp = times = [trade.create_time_ms for trade in trades]
    if not all(times):  # old delivery contracts
        columns.timestamp = [at or round(trade.create_time * 1000) for at, trade in zip(times, trades, strict=True)]
        if 0 in columns.timestamp:
            raise BadFrame("a trade without a time")
    _append_futures(trades, columns)


def _append_futures(trades: Sequence[FuturesTrade | FuturesRow], columns: Columns) -> None:
    columns.trade_id = ids = [trade.id for trade in trades]
    if ids and min(ids) < 0:
        raise BadFrame("a trade without an id")
    columns.price = [trade.price for trade in trades]
    sizes = [trade.size for trade in trades]
    columns.quantity = list(map(abs, sizes))
    columns.sell = [size < 0 for size in sizes]
    columns.flags = {row: Flag.INTERNAL.value for row, trade in enumerate(trades) if trade.is_internal}


def read_control(frame: bytes) -> Control | None:
    """Read a frame that is not a trade: acknowledgement, rejection, pong, announced restart, or another channel's data."""
    message = msgspec.json.decode(frame)
    if not isinstance(message, dict):
        return None
    channel, event = message.get("channel"), message.get("event")
    if not isinstance(channel, str):
        method = message.get("method")  # the protocol before v4
        known = isinstance(method, str) and "params" in message and method != "trades.update"
        return Control(ControlKind.OTHER, reason=str(method)) if known else None
    if channel.endswith(".pong"):
        return Control(ControlKind.PONG)
    if event in ("subscribe", "unsubscribe"):
        return _answer_to_request(message)
    if event not in ("update", "all"):
        return None
    result = message.get("result")
    if channel.endswith(".system"):
        kind = str(result.get("type")) if isinstance(result, dict) else ""
        return Control(ControlKind.RECONNECT if kind == "upgrade" else ControlKind.OTHER, reason=f"{channel} {kind}")
    if channel.endswith(".trades"):
        return Control(ControlKind.OTHER, reason="no trades") if result == [] else None
    return Control(ControlKind.OTHER, reason=channel)


def _answer_to_request(message: dict[str, Any]) -> Control:
    """Read the answer to a request. A rejection names its symbol in its text, so every word is a candidate."""
    number = message.get("id")
    request_id = number if isinstance(number, int) else None
    error, result = message.get("error"), message.get("result")
    failed = isinstance(result, dict) and result.get("status") == "fail"
    if not error and not failed:
        return Control(ControlKind.ACK, request_id)
    text = str(error.get("message", "")) if isinstance(error, dict) else str(error)
    code = error.get("code") if isinstance(error, dict) else None
    return Control(ControlKind.REFUSAL, request_id, tuple(NAMES.findall(text)), f"{code} {text}")


def parse_spot_instruments(bodies: Sequence[bytes]) -> list[Instrument]:
    """Read currency_pairs: pairs that trade against USDT."""
    return [Instrument(symbol=row["id"], base=row["base"], quote=row["quote"], multiplier=split_multiplier(row["base"]))
            for row in _listed.decode(bodies[0]) if row["quote"] == "USDT" and row["trade_status"] == "tradable"]


def parse_futures_instruments(bodies: Sequence[bytes]) -> list[Instrument]:
    """Read contracts, without those being delisted. Base and quote are only in their names."""
    found = []
    for row in _listed.decode(bodies[0]):
        base, _, quote = row["name"].rpartition("_")
        size = float(row["quanto_multiplier"])
        if quote == "USDT" and size > 0 and row.get("status", "trading") == "trading" and not row.get("in_delisting"):
            found.append(Instrument(symbol=row["name"], base=base, quote=quote, contract_size=size,
                                    multiplier=split_multiplier(base)))
    return found


def _volumes(path: str, symbol_key: str, volume_key: str) -> Volumes:
    return Volumes(HttpRequest(path), lambda body: {row[symbol_key]: float(row[volume_key] or 0) for row in _listed.decode(body)})


def _history_request(path: str, symbol_key: str) -> Callable[[HistoryQuery], HttpRequest]:
    """Request the newest 1,000 rows of a range of whole seconds; an earlier end pages back."""
    return lambda query: HttpRequest(path, {symbol_key: query.symbol, "limit": 1000, "from": query.start_ns // NS_PER_S,
                                            "to": (query.end_ns - 1) // NS_PER_S})


def parse_spot_history(body: bytes, symbol: str, columns: Columns) -> None:
    """Append the rows of spot/trades, newest first as they come."""
    _append_spot(_spot_rows.decode(body), columns)


def parse_futures_history(body: bytes, symbol: str, columns: Columns) -> None:
    """Append the rows of futures/usdt/trades, newest first as they come."""
    rows = _futures_rows.decode(body)
    columns.symbol = [symbol] * len(rows)
    columns.timestamp = [_ns(bytes(row.create_time_ms).decode().strip('"')) // 1_000_000 for row in rows]
    _append_futures(rows, columns)


def _minutes(path: str, symbol_key: str, rows: int, parse: Callable[[bytes, Instrument], list[Candle]]) -> Candles:
    """Request the minutes that begin in [start_ns, end_ns)."""
    return Candles(request=lambda symbol, start_ns, end_ns: HttpRequest(
        path, {symbol_key: symbol, "interval": "1m", "from": -(-start_ns // 60 // NS_PER_S) * 60, "to": (end_ns - 1) // 10**9}),
        parse=parse, rows_per_request=rows, reach_s=CANDLE_REACH_S, tolerance=0.0, why="")


def _candles(rows: Iterable[Sequence[Any]]) -> list[Candle]:
    """Return candles of rows of time, open, high, low, close, base volume and quote volume."""
    return ascending_candles(
        Candle(start_ns=int(at) * NS_PER_S, open=first, high=high, low=low, close=last, volume=volume, quote_volume=quote)
        for at, first, high, low, last, volume, quote in (map(float, row) for row in rows))


def parse_spot_candles(body: bytes, instrument: Instrument) -> list[Candle]:
    """Read spot/candlesticks: rows of time, quote volume, close, high, low, open, base volume, and whether it is closed."""
    return _candles([row[place] for place in (0, 5, 3, 4, 2, 6, 1)] for row in _lists.decode(body))


def parse_futures_candles(body: bytes, instrument: Instrument) -> list[Candle]:
    """Read futures/usdt/candlesticks; contracts become base units."""
    return _candles([*(row[key] for key in "tohlc"), float(row["v"]) * instrument.contract_size, row.get("sum", -1)]
                    for row in _listed.decode(body))


def _books(path: str, key: str, **facts: Any) -> OrderBooks:
    return OrderBooks(request=lambda symbol: HttpRequest(path, {key: symbol, "limit": 50, "with_id": "true"}),
                      parse=book_reader(sequence="id", **facts))


def _tickers(path: str, key: str, **names: str) -> Tickers:
    return tickers_at(path, key, data=lambda body: _listed.decode(body)[0], symbol=key, names={
        "price": "last", "percent": "change_percentage", "high": "high_24h", "low": "low_24h", "bid": "highest_bid",
        "ask": "lowest_ask", **names})


def _venue(market_type: str, **facts: Any) -> Venue:
    channel = f"{market_type}.trades"
    return Venue(
        exchange="gate", market_type=market_type, rest_url="https://api.gateio.ws/api/v4", id_kind=IdKind.CONTIGUOUS,
        limits=Limits(symbols_per_connection=200, symbols_per_message=50, message_bytes=8000, connection_bytes=0,
                      messages_per_second=10, subscriptions_per_hour=0, connects_per_second=4, connects_per_5_minutes=200,
                      connection_age_s=math.inf, requests_per_minute=1200, request_window_s=10, shared_by_markets=False),
        heartbeat=Heartbeat(interval_s=10, text=_ping(f"{market_type}.ping")), stale_after_s=45, stamp=stamp,
        subscribe=_request(channel, "subscribe"), unsubscribe=_request(channel, "unsubscribe"), read_control=read_control,
        history=HistoryDepth(rows_per_request=1000, pages=True, reach_s=THIRTY_DAYS_S), **facts,
    )


VENUES = [
    _venue(SPOT, ws_url="wss://api.gateio.ws/ws/v4/", headers={}, quantity_unit=QuantityUnit.BASE, timestamp_unit_ns=1,
           parse=parse_spot, instruments_requests=[HttpRequest("/spot/currency_pairs")],
           parse_instruments=parse_spot_instruments, volumes=_volumes("/spot/tickers", "currency_pair", "quote_volume"),
           history_request=_history_request("/spot/trades", "currency_pair"), parse_history=parse_spot_history,
           candles=_minutes("/spot/candlesticks", "currency_pair", 1000, parse_spot_candles),
           books=_books("/spot/order_book", "currency_pair", time=("current", 1_000_000)),
           tickers=_tickers("/spot/tickers", "currency_pair", volume="base_volume", quote_volume="quote_volume")),
    _venue(FUTURES, ws_url="wss://fx-ws.gateio.ws/v4/ws/usdt", headers={"X-Gate-Size-Decimal": "1"},
           quantity_unit=QuantityUnit.CONTRACTS, timestamp_unit_ns=1_000_000, parse=parse_futures,
           instruments_requests=[HttpRequest("/futures/usdt/contracts")], parse_instruments=parse_futures_instruments,
           volumes=_volumes("/futures/usdt/tickers", "contract", "volume_24h_quote"),
           history_request=_history_request("/futures/usdt/trades", "contract"), parse_history=parse_futures_history,
           candles=_minutes("/futures/usdt/candlesticks", "contract", 2000, parse_futures_candles),
           books=_books("/futures/usdt/order_book", "contract", time=("current", NS_PER_S), level=("p", "s")),
           tickers=_tickers("/futures/usdt/tickers", "contract", volume="volume_24h", quote_volume="volume_24h_quote")),
]


@hookimpl
def exchange_venues() -> list[Venue]:
    """Return both markets."""
    return VENUES
