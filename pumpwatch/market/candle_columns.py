"""Candles as columns: each row is one candle of one series. Prices are in the quote, volumes in base units.

A series is an instrument of a venue: (exchange, market_type, symbol).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pumpwatch.model import Float64, Int64

Series = tuple[str, str, str]  # exchange, market_type, symbol


class CandleOrigin(enum.IntEnum):
    """The source of a candle's figures."""

    TRADES = 1  # computed from the recorded trades
    VENUE = 2  # the venue's own candle
    MIXED = 3  # a longer candle, aggregated from both kinds


@dataclass(frozen=True, slots=True)
class CandleColumns:
    """Candles as columns of equal length. Columns never change.

    series: place in the list of series that accompanies the columns. complete: False if trades of the interval may be missing, or
    if it is not over. An interval without a trade has no candle.
    """

    series: NDArray[np.int32]
    timestamp: Int64  # ns, UTC: the start of the interval
    open: Float64
    high: Float64
    low: Float64
    close: Float64
    volume: Float64  # base units
    quote_volume: Float64  # nan: unknown
    taker_buy_volume: Float64  # base units; nan: unknown
    trades: Int64  # -1: unknown
    complete: NDArray[np.bool_]
    origin: NDArray[np.uint8]  # an Origin

    def __len__(self) -> int:
        return len(self.timestamp)

    def columns(self) -> tuple[NDArray[Any], ...]:
        """Return every column in the order of the fields."""
        return tuple(getattr(self, name) for name in _NAMES)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> CandleColumns:
        """Return the given rows (indexes, mask or slice)."""
        return CandleColumns(*(column[rows] for column in self.columns()))

    @staticmethod
    def empty() -> CandleColumns:
        """Return columns without a row."""
        return CandleColumns(*(np.empty(0, dtype) for dtype in DTYPES))

    @staticmethod
    def concat(parts: Sequence[CandleColumns]) -> CandleColumns:
        """Return the rows of all parts, in order."""
        if not parts:
            return CandleColumns.empty()
        return CandleColumns(*(np.concatenate(columns) for columns in zip(*(part.columns() for part in parts), strict=True)))


_NAMES = tuple(field.name for field in fields(CandleColumns))
DTYPES = (np.int32, np.int64, *[np.float64] * 7, np.int64, np.bool_, np.uint8)
