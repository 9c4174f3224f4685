"""The share of a venue's requests."""

from __future__ import annotations

import pytest

from pumpwatch.backfill.budget import BudgetShares
from pumpwatch.clock import FakeClock
from pumpwatch.feeds.rate_limits import HALF
from pumpwatch.net.ratelimit import TokenBucket


class Slept:
    """Moves the clock instead of waiting."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.seconds = clock, 0.0

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.clock.advance(seconds)


@pytest.fixture
def slept():
    return Slept(FakeClock())


def test_it_uses_its_share_of_the_rate(slept):
    clock = slept.clock
    whole = TokenBucket(10.0, 50.0, clock)
    share = BudgetShares(0.5, clock, slept.sleep).of(whole)
    for _ in range(100):
        assert share.acquire(5.0, lambda: False)
        whole.reserve(5.0)
    assert slept.seconds == pytest.approx(100.0, abs=2.0)  # 500 units at 5 a second


@pytest.mark.parametrize("made_during", [False, True])
def test_it_follows_the_part_of_the_budget_that_a_takeover_leaves(slept, made_during):
    clock = slept.clock
    whole = TokenBucket(10.0, 50.0, clock)
    shares = BudgetShares(0.5, clock, slept.sleep)
    if not made_during:
        shares.of(whole)
    whole.use_part(HALF)
    share = shares.of(whole)
    assert share.rate == 2.5
    for _ in range(100):
        assert share.acquire(1.0, lambda: False)
    assert slept.seconds == pytest.approx(40.0, abs=1.0)  # 100 units at 2.5 a second
    whole.use_part(1.0)
    assert share.rate == 5.0


def test_it_asks_nothing_while_the_venue_wants_patience(slept):
    clock = slept.clock
    whole = TokenBucket(10.0, 50.0, clock)
    share = BudgetShares(0.5, clock, slept.sleep).of(whole)
    whole.pause(60.0)
    assert share.acquire(1.0, lambda: False) and slept.seconds >= 60.0


def test_other_requests_come_first(slept):
    clock = slept.clock
    whole = TokenBucket(1.0, 5.0, clock)
    share = BudgetShares(1.0, clock, slept.sleep).of(whole)
    whole.reserve(30.0)
    assert share.acquire(1.0, lambda: False) and slept.seconds >= 25.0


def test_it_stops_waiting_when_the_collector_stops(slept):
    whole = TokenBucket(0.001, 1.0, slept.clock)
    whole.reserve(10.0)
    assert not BudgetShares(0.5, slept.clock, slept.sleep).of(whole).acquire(1.0, lambda: slept.seconds > 20)


def test_markets_that_are_counted_together_have_one_share():
    shares, clock = BudgetShares(0.5, FakeClock()), FakeClock()
    one, other = TokenBucket(1.0, 1.0, clock), TokenBucket(1.0, 1.0, clock)
    assert shares.of(one) is shares.of(one) and shares.of(one) is not shares.of(other)
