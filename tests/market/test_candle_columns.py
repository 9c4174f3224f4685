"""Columns are taken and joined without a change to their kinds."""

from __future__ import annotations

import numpy as np

from pumpwatch.market.candle_columns import DTYPES, CandleColumns


def candles(count: int) -> CandleColumns:
    return CandleColumns(*(np.arange(count).astype(dtype) for dtype in DTYPES))


def test_rows_are_taken_and_joined() -> None:
    whole = candles(5)
    again = CandleColumns.concat([whole.take(slice(0, 2)), whole.take(np.array([2, 3, 4]))])
    assert len(again) == 5
    for ours, theirs in zip(again.columns(), whole.columns(), strict=True):
        assert ours.tolist() == theirs.tolist()
        assert ours.dtype == theirs.dtype


def test_nothing_has_the_same_kinds_of_columns() -> None:
    for none in (CandleColumns.empty(), CandleColumns.concat([])):
        assert len(none) == 0
        assert [column.dtype for column in none.columns()] == [np.dtype(dtype) for dtype in DTYPES]
