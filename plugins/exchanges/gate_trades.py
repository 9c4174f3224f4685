"""Gate's trades: the frames and history rows of both markets into columns. Facts and quirks: see gate.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from pumpwatch import BadFrame, Columns, Flag

LONGEST_RANGE = 10_000  # fills in one row; more is taken for a damaged frame
UNIT_NS = {13: 1_000_000, 10: 1_000_000_000}  # by digits before the point: these years' ms and seconds


class SpotTrade(msgspec.Struct, gc=False, kw_only=True):
    """A trade on spot, one a frame, its fields in the order they come in, which decodes faster.

    REST has the same fields, and sequence_id for id_market.
    """

    id: int
    id_market: int = -1
    create_time_ms: str
    side: Literal["buy", "sell"]
    currency_pair: str
    amount: float
    price: float
    range: str = ""
    sequence_id: int = -1


class SpotMessage(msgspec.Struct, gc=False):
    """A spot frame."""

    channel: Literal["spot.trades"]
    event: Literal["update"]
    result: SpotTrade


class FuturesTrade(msgspec.Struct, gc=False, kw_only=True):
    """A trade on futures; size is in contracts, negative where the taker sold."""

    id: int
    size: float
    create_time: float = 0.0
    create_time_ms: int = 0
    price: float
    contract: str
    is_internal: bool = False


class FuturesMessage(msgspec.Struct, gc=False):
    """A futures frame."""

    channel: Literal["futures.trades"]
    event: Literal["update"]
    result: list[FuturesTrade]


class FuturesRow(msgspec.Struct):
    """A trade of the futures' REST history; its time is read digit by digit."""

    id: int
    price: float
    size: float
    create_time_ms: msgspec.Raw
    is_internal: bool = False


_spot = msgspec.json.Decoder(list[SpotMessage], strict=False)
_futures = msgspec.json.Decoder(list[FuturesMessage], strict=False)
_spot_rows = msgspec.json.Decoder(list[SpotTrade], strict=False)
_futures_rows = msgspec.json.Decoder(list[FuturesRow], strict=False)
_numbers = msgspec.json.Decoder(list[int])


def parse_spot(text: bytes | memoryview, columns: Columns) -> None:
    """Append the trades of a JSON array of `spot.trades` frames."""
    _fill_spot([message.result for message in _spot.decode(text)], columns)


def _fill_spot(trades: Sequence[SpotTrade], columns: Columns) -> None:
    columns.trade_id = ids = [trade.id_market for trade in trades]
    if ids and min(ids) < 0:
        columns.trade_id = ids = [_market_id(trade) for trade in trades]
    columns.symbol = [trade.currency_pair for trade in trades]
    columns.price = [trade.price for trade in trades]
    columns.quantity = [trade.amount for trade in trades]
    columns.sell = [trade.side == "sell" for trade in trades]
    columns.timestamp = _times([trade.create_time_ms for trade in trades])
    spans = [trade.range for trade in trades]
    merged = _merged(spans)
    if merged:
        _use_up(merged, spans, columns)


def _market_id(trade: SpotTrade) -> int:
    number = next((one for one in (trade.id_market, trade.sequence_id, trade.id) if one != -1), -1)
    if number < 0:
        raise BadFrame("a trade without an id")
    return number


def _times(texts: Sequence[str]) -> list[int]:
    """Return times in ns. The usual ones, ms with six places, are cut and read all at once."""
    joined, count = ",".join(texts), len(texts)
    if len(joined) == 21 * count - 1 and joined[13::21] == "." * count and joined[20::21] == "," * (count - 1):
        times = _numbers.decode(f"[{joined.replace('.', '')}]")
        if len(times) == count:
            return times
    return [_ns(text, 13) for text in texts]


def _ns(text: str, digits: int = 0) -> int:
    """Return a time in ns, exactly; digits are those before its point, 0 allows for ms and seconds."""
    whole, _, fraction = text.partition(".")
    unit = UNIT_NS.get(len(whole)) if digits in (0, len(whole)) else None
    if unit is None or not (text.isascii() and (whole + fraction).isdecimal()):
        raise BadFrame(f"a time of {text[:40]!r}")
    places = len(str(unit)) - 1
    return int(whole) * unit + int(f"{fraction[:places]:0<{places}}")


def _merged(spans: Sequence[str]) -> list[int]:
    """Return the rows whose range is more than one id."""
    if "" not in spans:
        ends = _numbers.decode(f"[{','.join(spans).replace('-', ',')}]")
        if len(ends) == 2 * len(spans) and ends[::2] == ends[1::2]:
            return []
    return [row for row, span in enumerate(spans) if span[:len(span) // 2] != span[len(span) // 2 + 1:]]


def _use_up(merged: Sequence[int], spans: Sequence[str], columns: Columns) -> None:
    """Give rows that are several fills in one void rows for the other ids of their range, before and behind."""
    numbers: list[Sequence[int]] = [[own] for own in columns.trade_id]
    for row in merged:
        first, _, last = spans[row].partition("-")
        span = range(int(first), int(last) + 1)
        if not 0 < len(span) <= LONGEST_RANGE:
            raise BadFrame(f"a range of {spans[row][:60]!r}")
        if numbers[row][0] in span:  # else it counts something else
            numbers[row] = span
    own_ids = columns.trade_id
    rows = [row for row, ids in enumerate(numbers) for _ in ids]
    for name in ("symbol", "price", "quantity", "sell", "timestamp"):
        column = getattr(columns, name)
        setattr(columns, name, [column[row] for row in rows])
    columns.trade_id = expanded = [number for ids in numbers for number in ids]
    columns.counts = [len(ids) for ids in numbers]
    columns.void = [place for place, row in enumerate(rows) if expanded[place] != own_ids[row]]
    columns.flags = {place: Flag.AGGREGATED.value for place, row in enumerate(rows)
                     if expanded[place] == own_ids[row] and len(numbers[row]) > 1}


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
    if not all(times):  # delivery contracts of old
        columns.timestamp = [at or round(trade.create_time * 1000) for at, trade in zip(times, trades, strict=True)]
        if 0 in columns.timestamp:
            raise BadFrame("a trade without a time")
    _fill_futures(trades, columns)


def _fill_futures(trades: Sequence[FuturesTrade | FuturesRow], columns: Columns) -> None:
    columns.trade_id = ids = [trade.id for trade in trades]
    if ids and min(ids) < 0:
        raise BadFrame("a trade without an id")
    columns.price = [trade.price for trade in trades]
    sizes = [trade.size for trade in trades]
    columns.quantity = list(map(abs, sizes))
    columns.sell = [size < 0 for size in sizes]
    columns.flags = {row: Flag.INTERNAL.value for row, trade in enumerate(trades) if trade.is_internal}


def parse_spot_history(body: bytes, symbol: str, columns: Columns) -> None:
    """Append the rows of spot/trades, newest first as they come."""
    _fill_spot(_spot_rows.decode(body), columns)


def parse_futures_history(body: bytes, symbol: str, columns: Columns) -> None:
    """Append the rows of futures/usdt/trades, newest first as they come."""
    rows = _futures_rows.decode(body)
    columns.symbol = [symbol] * len(rows)
    columns.timestamp = [_ns(bytes(row.create_time_ms).decode().strip('"')) // 1_000_000 for row in rows]
    _fill_futures(rows, columns)
