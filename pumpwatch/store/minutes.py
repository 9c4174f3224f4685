"""Figures of trades by instrument and minute: their number, their volume, and a checksum that does not depend on their order.

Figures are additive: the joined figures of two parts of the trades are the figures of all. So each batch is counted once, and
late trades are added to their minute at any time. A sink can compute the same checksum by SQL, see `checksums`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pumpwatch.model import Flag, Int64, TradeBatch

MINUTE_NS = 60_000_000_000
HOUR_MINUTES = 60
CHECKSUM_MASK = 0xFFFF_FFFF
_SCALE = 1e8  # prices and quantities count in whole units of 1e-8
_LARGEST = 2.0**63
_SHIFT = 28  # bits of a minute in a key


@dataclass(frozen=True, slots=True)
class Minutes:
    """Columns of one length, sorted by instrument and minute, each pair once.

    outside: how many of `trades` were outside the market (insurance fund, auto-deleveraging); `volume`, in base units, leaves
    them out, as candles do. joined: the number of rows that join several trades, so that `trades` is not comparable. checksum:
    32 bits.
    """

    instrument: NDArray[np.int32]
    minute: Int64  # since 1970
    trades: Int64
    outside: Int64
    joined: Int64
    volume: NDArray[np.float64]
    checksum: Int64

    def __len__(self) -> int:
        return len(self.minute)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Minutes:
        """Return the given rows."""
        return Minutes(*(getattr(self, field.name)[rows] for field in fields(self)))

    def between(self, first: int, end: int) -> Minutes:
        """Return the rows of the minutes [first, end)."""
        return self.take((self.minute >= first) & (self.minute < end))

    def keys(self) -> Int64:
        """Return an ascending number for each row, equal for equal instrument and minute."""
        found: Int64 = (self.instrument.astype(np.int64) << _SHIFT) | self.minute
        return found

    @staticmethod
    def empty() -> Minutes:
        """Return figures without trades."""
        none = np.empty(0, np.int64)
        return Minutes(np.empty(0, np.int32), none, none, none, none, np.empty(0, np.float64), none)


@dataclass(frozen=True, slots=True)
class FlaggedSum:
    """The trades with the same flags: their number, and their volume in base units."""

    flags: int
    trades: int
    volume: float


def sums_by_flags(batch: TradeBatch) -> list[FlaggedSum]:
    """Return the sums of a batch by flags; an empty list for an empty batch."""
    kinds, place = np.unique(batch.flags, return_inverse=True)
    counts, volumes = np.bincount(place).tolist(), np.bincount(place, batch.quantity).tolist()
    return [FlaggedSum(*sums) for sums in zip(kinds.tolist(), counts, volumes, strict=True)]


def minutes_of(batch: TradeBatch) -> Minutes:
    """Return the figures of a batch. A trade from before 1970 counts in the first minute."""
    if not len(batch):
        return Minutes.empty()
    minute = np.maximum(batch.timestamp, 0) // MINUTE_NS
    outside = (batch.flags & Flag.outside_market()) != 0
    rows = Minutes(batch.instrument, minute, np.ones(len(batch), np.int64), outside.astype(np.int64),
                   ((batch.flags & Flag.AGGREGATED) != 0).astype(np.int64), np.where(outside, 0.0, batch.quantity),
                   checksums(batch))
    return joined([rows])


def joined(parts: Sequence[Minutes]) -> Minutes:
    """Return the figures of all parts together."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return Minutes.empty()
    columns = [np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Minutes)]
    keys = (columns[0].astype(np.int64) << _SHIFT) | columns[1]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    instrument, minute = (column[order][starts] for column in columns[:2])
    *sums, checksum = (np.add.reduceat(column[order], starts) for column in columns[2:])
    return Minutes(*(instrument, minute, *sums, checksum & CHECKSUM_MASK))


def checksums(batch: TradeBatch) -> Int64:
    """Return a number for each trade by its time, id, quantity and price; a minute's checksum is the low 32 bits of their sum.

    In SQL with wrapping 64-bit integers: (timestamp ^ id) + 31 * trunc(quantity * 1e8) + 17 * trunc(price * 1e8). An id that is
    not an integer counts as 0, and so does a product that exceeds 64 bits.
    """
    with np.errstate(over="ignore"):
        found: Int64 = ((batch.timestamp ^ _numbers(batch)) + 31 * _whole(batch.quantity) + 17 * _whole(batch.price))
        return found & CHECKSUM_MASK


def _whole(values: NDArray[np.float64]) -> Int64:
    scaled = values * _SCALE
    return np.where(np.abs(scaled) < _LARGEST, scaled, 0.0).astype(np.int64)


def _numbers(batch: TradeBatch) -> Int64:
    """Return ids as numbers."""
    if batch.text_id is None:
        return batch.trade_id
    text = np.ascontiguousarray(batch.text_id)
    letters = text.view(np.uint8).reshape(len(batch), text.dtype.itemsize)
    named = letters[:, 0] != 0
    digits = named & (((letters >= ord("0")) & (letters <= ord("9"))) | (letters == 0)).all(axis=1)
    numbers = np.where(named, 0, batch.trade_id)
    for row in np.flatnonzero(digits).tolist():
        number = int(text[row])
        numbers[row] = number if number < 2**63 else 0
    return numbers
