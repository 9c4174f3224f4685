"""Longer candles of shorter ones, for the part of a time that the store does not have yet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pumpwatch.market.candle_columns import CandleColumns, CandleOrigin
from pumpwatch.model import Int64

Ints = NDArray[np.intp]


def longer(rows: CandleColumns, interval_ns: int, now_ns: int) -> CandleColumns:
    """Return the candles of a longer interval of the given ones, which are ordered by series and time.

    A candle is complete where all that it is made of is, and where it is over. A sum is nan, or -1 trades, where one part is.
    """
    if not len(rows):
        return rows
    start = rows.timestamp // interval_ns * interval_ns
    first, last = _runs(rows.series, start)
    add = np.add.reduceat
    counts = add(rows.trades, first)
    counts[np.logical_or.reduceat(rows.trades < 0, first)] = -1
    lowest, highest = np.minimum.reduceat(rows.origin, first), np.maximum.reduceat(rows.origin, first)
    return CandleColumns(
        series=rows.series[first], timestamp=start[first], open=rows.open[first], high=np.maximum.reduceat(rows.high, first),
        low=np.minimum.reduceat(rows.low, first), close=rows.close[last], volume=add(rows.volume, first),
        quote_volume=add(rows.quote_volume, first), taker_buy_volume=add(rows.taker_buy_volume, first), trades=counts,
        complete=np.logical_and.reduceat(rows.complete, first) & (start[first] + interval_ns <= now_ns),
        origin=np.where(lowest == highest, lowest, CandleOrigin.MIXED).astype(np.uint8))


def _runs(series: NDArray[np.int32], start: Int64) -> tuple[Ints, Ints]:
    """Return the first and the last row of each run of equal series and time."""
    new = np.ones(len(start), np.bool_)
    new[1:] = (series[1:] != series[:-1]) | (start[1:] != start[:-1])
    first = np.flatnonzero(new)
    return first, np.append(first[1:], len(start)) - 1
