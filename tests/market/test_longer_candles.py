"""Longer candles are made of shorter ones, each series for itself."""

from __future__ import annotations

import numpy as np

from pumpwatch.market.candle_columns import CandleColumns, CandleOrigin
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.market.longer_candles import longer
from tests.market.market_parts import minute

FIVE = 5 * MINUTE_NS
START = 100 * FIVE


def test_five_minutes_have_the_first_price_the_extremes_and_the_sums() -> None:
    rows = CandleColumns.concat([minute(START, 10.0), minute(START + 2 * MINUTE_NS, 12.0), minute(START + FIVE, 5.0)])
    found = longer(rows, FIVE, START + 2 * FIVE)
    assert (found.timestamp // FIVE).tolist() == [100, 101]
    assert [column[0] for column in (found.open, found.high, found.low, found.close)] == [10.0, 13.0, 9.0, 12.5]
    assert (found.volume[0], found.quote_volume[0], found.taker_buy_volume[0], found.trades[0]) == (6.0, 66.0, 2.0, 4)
    assert found.complete.tolist() == [True, True]


def test_the_interval_that_runs_is_not_complete_nor_one_with_a_minute_that_is_not() -> None:
    assert not longer(minute(START, 1.0), FIVE, START + FIVE - 1).complete[0]
    parts = CandleColumns.concat([minute(START, 1.0), minute(START + MINUTE_NS, 1.0, complete=False)])
    assert not longer(parts, FIVE, START + FIVE).complete[0]


def test_a_figure_that_one_part_lacks_is_not_known() -> None:
    other = minute(START + MINUTE_NS, 1.0, trades=-1)
    other.quote_volume[:] = np.nan
    other.origin[:] = CandleOrigin.VENUE
    found = longer(CandleColumns.concat([minute(START, 1.0), other]), FIVE, START + FIVE)
    assert found.trades[0] == -1 and np.isnan(found.quote_volume[0]) and found.origin[0] == CandleOrigin.MIXED


def test_nothing_makes_nothing() -> None:
    assert len(longer(CandleColumns.empty(), FIVE, 0)) == 0
