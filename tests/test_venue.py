"""The facts of a venue, as a plugin states them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pumpwatch.errors import BadFrame
from pumpwatch.venue import MINUTE_NS, Candle, HistoryDepth, ascending_candles
from tests.plugin_kit.good_venue import SPOT


def test_a_venue_is_named_by_exchange_and_market() -> None:
    venue = SPOT
    assert venue.name == f"{venue.exchange}.{venue.market_type}"


def test_a_history_answers_by_time_with_its_newest_rows_unless_it_says_otherwise() -> None:
    depth = HistoryDepth(rows_per_request=100, pages=True, reach_s=math.inf)
    assert not depth.by_id
    assert not depth.oldest_first
    assert not depth.skips_ids
    assert depth.by_time


def candle(**figures: Any) -> Candle:
    usual = {"start_ns": 5 * MINUTE_NS, "open": 2.0, "high": 3.0, "low": 1.0, "close": 2.0, "volume": 4.0, "quote_volume": 8.0}
    return Candle(**{**usual, **figures})


@pytest.mark.parametrize("figures", [
    {"start_ns": 5 * MINUTE_NS + 1}, {"start_ns": -MINUTE_NS}, {"open": math.nan}, {"close": math.inf}, {"low": -1.0},
    {"high": 0.5}, {"volume": -0.1}, {"volume": math.nan}, {"quote_volume": -2.0}, {"quote_volume": math.inf}, {"trades": -2},
])
def test_figures_that_no_minute_has_are_not_a_candle(figures: dict[str, Any]) -> None:
    with pytest.raises(BadFrame):
        candle(**figures)


def test_a_candle_may_lack_trades_and_figures_that_the_venue_does_not_give() -> None:
    quiet = candle(volume=0.0, quote_volume=-1, trades=-1)
    assert (quiet.volume, quiet.quote_volume, quiet.trades) == (0.0, -1, -1)


def test_candles_are_put_in_order_and_a_minute_has_one() -> None:
    first, second = candle(), candle(start_ns=6 * MINUTE_NS)
    assert ascending_candles([second, first]) == [first, second]
    with pytest.raises(BadFrame):
        ascending_candles([first, second, candle(volume=1.0)])
