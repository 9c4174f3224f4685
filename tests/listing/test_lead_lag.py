"""The lag between two prices."""

from __future__ import annotations

import numpy as np
import pytest

from pumpwatch.listing.lead_lag import MOVES_LEAST, lead_lags, returns_of
from pumpwatch.model import BUY
from tests.listing.market import ANNOUNCED_NS
from tests.listing.tape import tape


def test_returns_are_between_the_last_prices_of_each_tenth_of_a_second() -> None:
    trades = tape(0, [(-150, 2.0, 1, BUY), (10, 3.0, 1, BUY), (90, 4.0, 1, BUY), (100, 8.0, 1, BUY), (101, 1.0, 1, BUY)])
    returns = returns_of(trades.timestamp, trades.price, ANNOUNCED_NS)
    assert len(returns) == 400
    assert np.flatnonzero(returns).tolist() == [200, 201]  # the first price has nothing to differ from
    assert returns[200] == pytest.approx(np.log(4))
    assert returns[201] == pytest.approx(np.log(1 / 8))
    assert not returns_of(trades.timestamp[:0], trades.price[:0], ANNOUNCED_NS).any()


@pytest.mark.parametrize("steps", [-20, -3, 0, 1, 20])
def test_a_copy_that_comes_later_or_earlier_has_exactly_that_lag(steps: int) -> None:
    x = np.zeros(400)
    x[100:300] = np.random.default_rng(1).normal(0, 1, 200)
    assert lead_lags([x, np.roll(x, steps)], 0) == [None, {"lag_ms": 100 * steps, "correlation": 1.0}]


def test_of_equal_correlations_the_lag_nearest_to_none_counts() -> None:
    x = np.zeros(400)
    x[100:100 + 2 * MOVES_LEAST] = np.tile([1.0, -1.0], MOVES_LEAST)
    y = np.zeros(400)
    y[::2], y[1::2] = 1.0, -1.0
    (_, found) = lead_lags([x, y], 0)
    assert found is not None
    assert found["lag_ms"] == 0


def test_a_market_that_hardly_moves_has_no_lag() -> None:
    x, still = np.ones(400), np.zeros(400)
    still[:MOVES_LEAST - 1] = 1
    assert lead_lags([x, still], 0) == [None, None]
