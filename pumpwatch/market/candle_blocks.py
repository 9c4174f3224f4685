"""Blocks of candles: the candles of one series and a stretch of time in one blob, without loss.

A row of a table takes about 100 bytes a candle, a block about 20 to 30. Prices and volumes are decimal numbers, or sums of such.
A column is therefore stored as integers of a unit that is found (10^-0 to 10^-12), and as the distance of each value from the
float of its integer, counted in floats. That distance is mostly 0. A column that does not fit keeps its floats. The bytes of the
integers are put in planes and go through zstd level 1.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from pumpwatch.market.candle_columns import CandleColumns
from pumpwatch.market.intervals import INTERVALS_NS, MINUTE_NS
from pumpwatch.model import Float64, Int64
from pumpwatch.store.sqlite import DamagedError

UInt64 = NDArray[np.uint64]

_MINUTES = {"1m": 480, "5m": 1440, "15m": 4 * 1440, "1h": 8 * 1440, "4h": 32 * 1440, "1d": 128 * 1440}
BLOCK_NS = {interval: _MINUTES[interval] * MINUTE_NS for interval in INTERVALS_NS}  # the stretch of a block; 128 to 480 candles
VERSION = 1
_RAW = 255  # in place of a unit: the column's floats
_MOST_DIGITS, _NEAR, _MOST = 12, 100, 2**52  # of the unit; floats between a value and its integer's; of the integer
_FEW = 16  # values of a column that are tried with every unit at once
_UNITS = 10.0 ** np.arange(_MOST_DIGITS + 1)[:, np.newaxis]
_HEAD = 7  # bytes: version, number of candles, checksum of the rest


class _Out:
    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def integers(self, values: Int64 | UInt64) -> None:
        """Append non-negative integers as planes of bytes, as many as the largest needs."""
        unsigned = np.ascontiguousarray(values).view(np.uint64)
        width = (int(unsigned.max()).bit_length() + 7) // 8
        self.parts += [bytes([width]), unsigned.view(np.uint8).reshape(-1, 8)[:, :width].T.tobytes()]

    def signed(self, values: Int64) -> None:
        self.integers((values << 1) ^ (values >> 63))

    def floats(self, values: Float64) -> None:
        """Append floats in the unit that fits, or as they are."""
        digits = unit_of(values)
        self.parts.append(bytes([digits]))
        if digits == _RAW:
            self.integers(values.view(np.uint64))
            return
        whole, near = _split(values, digits)
        self.signed(whole)
        self.signed(near)


class _In:
    def __init__(self, data: bytes, count: int) -> None:
        self._data, self._at, self._count = data, 0, count

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def integers(self, columns: int = 1) -> Int64:
        width, count = self.byte(), self._count * columns
        planes = np.frombuffer(self._data, np.uint8, width * count, self._at).reshape(width, count)
        self._at += width * count
        values = np.zeros((count, 8), np.uint8)
        values[:, :width] = planes.T
        return values.view(np.int64).reshape(count)

    def signed(self, columns: int = 1) -> Int64:
        values = self.integers(columns).view(np.uint64)
        found: Int64 = (values >> np.uint64(1)).view(np.int64) ^ -(values & np.uint64(1)).view(np.int64)
        return found

    def floats(self) -> Float64:
        digits = self.byte()
        if digits == _RAW:
            return self.integers().view(np.float64)
        whole = self.signed()
        return _join(whole, self.signed(), digits)


def pack(rows: CandleColumns, interval: str) -> bytes:
    """Return the blob of candles of one series and block, in ascending order. There must be at least one."""
    out = _Out()
    start_ns = int(rows.timestamp[0]) // BLOCK_NS[interval] * BLOCK_NS[interval]
    out.integers(np.diff((rows.timestamp - start_ns) // INTERVALS_NS[interval], prepend=0))
    _pack_prices(out, rows)
    for column in (rows.volume, rows.quote_volume, rows.taker_buy_volume):
        out.floats(np.ascontiguousarray(column))
    out.signed(rows.trades)
    out.integers(rows.origin.astype(np.int64) << 1 | rows.complete)
    body = zstandard.ZstdCompressor(level=1, write_checksum=False).compress(b"".join(out.parts))
    return bytes([VERSION]) + len(rows).to_bytes(2, "little") + zlib.crc32(body).to_bytes(4, "little") + body


def unpack(blob: bytes, interval: str, start_ns: int) -> CandleColumns:
    """Return the candles of a blob, whose block began at `start_ns`; every `series` is 0.

    Raises DamagedError where a bit is wrong.
    """
    if len(blob) < _HEAD or blob[0] != VERSION or zlib.crc32(memoryview(blob)[_HEAD:]) != int.from_bytes(blob[3:7], "little"):
        raise DamagedError("a block of candles is damaged")
    count = int.from_bytes(blob[1:3], "little")
    data = _In(zstandard.ZstdDecompressor().decompress(memoryview(blob)[_HEAD:]), count)
    timestamp = np.cumsum(data.integers()) * INTERVALS_NS[interval] + start_ns
    prices = _unpack_prices(data)
    volumes = [data.floats() for _ in range(3)]
    trades, state = data.signed(), data.integers()
    columns: list[Any] = [np.zeros(count, np.int32), timestamp, *prices, *volumes, trades, (state & 1).astype(np.bool_),
                          (state >> 1).astype(np.uint8)]
    return CandleColumns(*columns)


def unit_of(values: Float64) -> int:
    """Return the digits after the point of the unit in which the floats are integers, or nearly so; 255 where none fits."""
    with np.errstate(all="ignore"):
        few = np.abs(values[:_FEW]) * _UNITS
        near = np.abs((np.rint(few) / _UNITS).view(np.int64) - np.abs(values[:_FEW]).view(np.int64))
    for digits in np.flatnonzero((near <= _NEAR).all(axis=1) & (few < _MOST).all(axis=1)).tolist():
        if _fits(values, digits):
            return int(digits)
    return _RAW


def _fits(values: Float64, digits: int) -> bool:
    if not float(np.abs(values).max()) * 10.0**digits < _MOST:  # not a number, or too large
        return False
    return bool(np.abs(_split(values, digits)[1]).max() <= _NEAR)


def _split(values: Float64, digits: int) -> tuple[Int64, Int64]:
    """Return each value's integer, and how many floats it is away from that integer's float."""
    whole = np.rint(values * 10.0**digits)
    near = whole / 10.0**digits
    return whole.astype(np.int64), values.view(np.int64) - near.view(np.int64)


def _join(whole: Int64, near: Int64, digits: int) -> Float64:
    found: Float64 = ((whole / 10.0**digits).view(np.int64) + near).view(np.float64)
    return found


def _pack_prices(out: _Out, rows: CandleColumns) -> None:
    """Append the prices as differences: open from the close before, close from open, high and low from both."""
    prices: Float64 = np.concatenate((rows.open, rows.high, rows.low, rows.close))
    digits = unit_of(prices)
    out.parts.append(bytes([digits]))
    if digits == _RAW:
        out.integers(prices.view(np.uint64))
        return
    whole, near = _split(prices, digits)
    first, high, low, last = whole.reshape(4, -1)
    out.signed(first - np.concatenate(([0], last[:-1])))
    out.signed(last - first)
    out.signed(high - np.maximum(first, last))
    out.signed(np.minimum(first, last) - low)
    out.signed(near)


def _unpack_prices(data: _In) -> NDArray[np.float64]:
    """Return open, high, low and close."""
    digits = data.byte()
    if digits == _RAW:
        return data.integers(4).view(np.float64).reshape(4, -1)
    from_last, change, above, below = (data.signed() for _ in range(4))
    last = np.cumsum(from_last + change)  # the differences add up to the closes
    first = last - change
    whole = np.concatenate((first, above + np.maximum(first, last), np.minimum(first, last) - below, last))
    return _join(whole, data.signed(4), digits).reshape(4, -1)
