"""Phemex's trades: the frames and history of both markets into columns. Facts and quirks: see phemex.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from pumpwatch import BadFrame, Columns

COIN_MARGINED_SCALE = 10**4  # `priceScale` of every coin-margined contract recorded


class Row(msgspec.Struct, array_like=True, gc=False):
    """A trade of a perpetual."""

    at: int
    side: Literal["Buy", "Sell"]
    price: str
    quantity: str


class ScaledRow(msgspec.Struct, array_like=True, gc=False):
    """A trade of spot, or of a coin-margined contract."""

    at: int
    side: Literal["Buy", "Sell"]
    price: int
    quantity: int


class Frame(msgspec.Struct, gc=False):
    """Trades of a perpetual, live or past."""

    symbol: str
    sequence: int
    trades_p: list[Row]
    type: Literal["incremental", "snapshot"] = "incremental"


class ScaledFrame(msgspec.Struct, gc=False):
    """The same of spot."""

    symbol: str
    sequence: int
    trades: list[ScaledRow]
    type: Literal["incremental", "snapshot"] = "incremental"


class Answer(msgspec.Struct):
    """A REST answer with trades in it."""

    result: msgspec.Raw


_frames = msgspec.json.Decoder(list[Frame], strict=False)
_scaled = msgspec.json.Decoder(list[ScaledFrame], strict=False)
_answer = msgspec.json.Decoder(Answer)
_decimals = msgspec.json.Decoder(list[float])


def parse_spot(text: bytes | memoryview, columns: Columns) -> None:
    """Append the trades of a JSON array of spot frames, as the venue's integers."""
    _scaled_into(_scaled.decode(text), columns)


def parse_futures(text: bytes | memoryview, columns: Columns) -> None:
    """Append the trades of a JSON array of frames of perpetuals (or, all of them, of coin-margined contracts)."""
    try:
        frames = _frames.decode(text)
    except msgspec.ValidationError:
        _coin_margined_into(_scaled.decode(text), columns)
    else:
        _decimal_into(frames, columns)


def _decimal_into(frames: list[Frame], columns: Columns) -> None:
    rows = _rows_of(frames, [frame.trades_p for frame in frames], columns)
    prices, quantities = [row.price for row in rows], [row.quantity for row in rows]
    columns.price, columns.quantity = _numbers(prices), _numbers(quantities)
    columns.trade_id = _identities(columns.sell, _texts(columns.price), _texts(columns.quantity))


def _scaled_into(frames: list[ScaledFrame], columns: Columns) -> None:
    rows = _rows_of(frames, [frame.trades for frame in frames], columns)
    columns.price, columns.quantity = prices, quantities = [row.price for row in rows], [row.quantity for row in rows]
    columns.trade_id = _identities(columns.sell, _texts(prices), _texts(quantities))


def _coin_margined_into(frames: list[ScaledFrame], columns: Columns) -> None:
    if not all(frame.symbol.endswith("USD") for frame in frames):
        raise BadFrame("integers where a perpetual has decimals")
    _scaled_into(frames, columns)
    columns.price = [price / COIN_MARGINED_SCALE for price in columns.price]


def _rows_of(frames: Sequence[Frame | ScaledFrame], parts: Sequence[Sequence[Any]], columns: Columns) -> list[Any]:
    """Return the rows of these frames, given frame by frame, with the columns filled that both kinds have alike."""
    counts = [len(part) for part in parts]
    rows: list[Any] = []
    for part in parts:
        rows += part
    frame_of = frames
    if counts.count(1) != len(counts):
        columns.counts = counts
        frame_of = [frame for frame, part in zip(frames, parts, strict=True) for _ in part]
    columns.symbol = [frame.symbol for frame in frame_of]
    columns.sequence_number = [frame.sequence for frame in frame_of]
    if "snapshot" in [frame.type for frame in frames]:
        columns.past = [row for row, frame in enumerate(frame_of) if frame.type == "snapshot"]
    columns.timestamp = [row.at for row in rows]
    columns.sell = [row.side == "Sell" for row in rows]
    return rows


def _identities(sells: Sequence[bool | None], prices: Sequence[str], quantities: Sequence[str]) -> list[str]:
    return [f"S{price}x{quantity}" if sell else f"B{price}x{quantity}"
            for sell, price, quantity in zip(sells, prices, quantities, strict=True)]


def _numbers(texts: Sequence[str]) -> list[float]:
    """Return what texts say, read all at once in half the time; what is no JSON number is refused."""
    numbers = _decimals.decode(f"[{','.join(texts)}]")
    if len(numbers) != len(texts):
        raise BadFrame("several numbers in one text")
    return numbers


def _texts(numbers: Sequence[float]) -> list[str]:
    """Return numbers as text, written all at once in half the time. 100, 100.0 and 100.00 are one number, and become one text."""
    if not numbers:
        return []
    return f"{msgspec.json.encode(numbers).decode()[1:-1]},".replace(".0,", ",")[:-1].split(",")


def _history_by(parse: Callable[[bytes, Columns], None]) -> Callable[[bytes, str, Columns], None]:
    def parse_history(body: bytes, symbol: str, columns: Columns) -> None:
        """Append the rows of a symbol's history, newest first as they come."""
        parse(b"[" + bytes(_answer.decode(body).result) + b"]", columns)
        if set(columns.symbol) - {symbol}:
            raise BadFrame(f"the history of another symbol where {symbol[:80]} was asked for")

    return parse_history


parse_spot_history, parse_futures_history = _history_by(parse_spot), _history_by(parse_futures)
