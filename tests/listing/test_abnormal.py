"""Scores of trades against what is normal for their market."""

from __future__ import annotations

import math
from statistics import median

import numpy as np
import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.listing.abnormal import RULE, Normal, baseline_from_ns, normal_of, scores_of, search_ns
from pumpwatch.model import BUY, TradeBatch
from tests.listing.market import ANNOUNCED_NS, trades
from tests.listing.tape import calm, tape

UNTIL_NS = ANNOUNCED_NS


def normal(trades: TradeBatch) -> Normal:
    return normal_of(trades.timestamp, trades.price, trades.price * trades.quantity, UNTIL_NS)


def test_the_baseline_is_twenty_minutes_before_the_search() -> None:
    assert search_ns(ANNOUNCED_NS) == ANNOUNCED_NS - 2 * NS_PER_S
    assert baseline_from_ns(ANNOUNCED_NS) == ANNOUNCED_NS - 1202 * NS_PER_S


def test_median_and_deviation_are_of_the_seconds_with_trades() -> None:
    """Prices 1, 1.01, 1.0303 ...: each second's return is one of ln 1.01, ln 1.02, ln 1.03, and the values are 1, 10, 100."""
    price, rows = 1.0, []
    for second in range(-61, 0):
        price *= 1 + (second % 3 + 1) / 100
        rows.append((second * 1000.0 + 500, price, 10 ** (second % 3) / price, BUY))
    found = normal(tape(0, rows))
    assert found.seconds == 61
    assert found.return_median == pytest.approx(np.log(1.02))
    assert found.return_deviation == pytest.approx(1.4826 * (np.log(1.02) - np.log(1.01)), rel=0.02)
    assert found.value_median == pytest.approx(np.log(10))
    assert found.value_deviation == pytest.approx(1.4826 * np.log(10))


def test_a_market_that_repeats_its_price_has_the_least_deviation() -> None:
    found = normal(calm(0, from_s=-20, to_s=0))
    assert (found.return_median, found.return_deviation) == (0, RULE["price_deviation_floor"])
    assert (found.value_median, found.value_deviation) == (pytest.approx(np.log(100)), RULE["volume_deviation_floor"])


def test_trades_outside_the_baseline_say_nothing_about_it() -> None:
    assert normal(calm(0, from_s=-1230, to_s=-1200)) == Normal(0)
    assert normal(calm(0, from_s=0, to_s=30)) == Normal(0)


def test_with_too_few_seconds_volume_is_not_judged() -> None:
    few = calm(0, from_s=-9, to_s=0)
    burst = tape(0, [(10.0 * k, 1.0, 1e6, BUY) for k in range(20)])
    both = TradeBatch.concat([few, burst])
    found = normal(both)
    assert found == Normal(9)
    assert not scores_of(both.timestamp, both.price, both.price * both.quantity, found).abnormal().any()


def test_a_burst_is_abnormal_from_the_trade_that_makes_it_one() -> None:
    """Value 100 a second is normal and the deviation 0.25, so 100 x e^1.5 = 448 is abnormal: with the 10th trade at 50 each."""
    both = TradeBatch.concat([calm(0, from_s=-20, to_s=0), tape(0, [(600.0 + k, 1.0, 50.0, BUY) for k in range(12)])])
    scores = scores_of(both.timestamp, both.price, both.price * both.quantity, normal(both))
    assert np.flatnonzero(scores.abnormal()).tolist() == [29, 30, 31]
    assert scores.reasons(29) == ["volume"]
    assert scores.volume[29] == pytest.approx(np.log(5) / 0.25)


def test_the_figures_are_those_of_a_plain_loop() -> None:
    market = trades(0, jump_ms=400, from_s=-90, to_s=5, rate=15)
    times, prices = market.timestamp.tolist(), market.price.tolist()
    values = (market.price * market.quantity).tolist()
    returns, volumes = [], []
    for second in range(-1200, 0):
        start, end = UNTIL_NS + second * NS_PER_S, UNTIL_NS + (second + 1) * NS_PER_S
        inside = [row for row, at in enumerate(times) if start <= at < end]
        earlier = [price for at, price in zip(times, prices, strict=True) if at < start]
        if inside:
            volumes.append(math.log(sum(values[row] for row in inside)))
            if earlier:
                returns.append(math.log(prices[inside[-1]] / earlier[-1]))
    found = normal(market)
    assert found.return_median == pytest.approx(median(returns))
    assert found.value_median == pytest.approx(median(volumes))
    assert found.value_deviation == pytest.approx(max(0.25, 1.4826 * median(abs(v - median(volumes)) for v in volumes)))
    scores = scores_of(market.timestamp, market.price, market.price * market.quantity, found)
    for row in range(0, len(market), 7):
        earlier = [price for at, price in zip(times[:row], prices, strict=False) if at <= times[row] - NS_PER_S]
        change = math.log(prices[row] / earlier[-1]) if earlier else found.return_median
        lately = [value for at, value in zip(times[:row + 1], values, strict=False) if at > times[row] - NS_PER_S]
        volume = (math.log(sum(lately)) - found.value_median) / found.value_deviation if len(lately) >= 10 else 0.0
        assert scores.price[row] == pytest.approx(abs(change - found.return_median) / found.return_deviation)
        assert scores.volume[row] == pytest.approx(volume, abs=1e-6)


def test_the_first_trade_of_all_is_not_abnormal_by_its_price() -> None:
    lonely = tape(0, [(0.0, 7.0, 1.0, BUY)])
    assert scores_of(lonely.timestamp, lonely.price, lonely.price, Normal()).price.tolist() == [0.0]
