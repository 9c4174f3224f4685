"""The wait before the next attempt grows, varies, and starts over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.net.backoff import Backoff


@given(st.floats(0.01, 5), st.floats(5, 300), st.integers(1, 80))
def test_waits_stay_below_a_ceiling_that_doubles_up_to_the_cap(base_s, cap_s, failures):
    backoff = Backoff(base_s, cap_s, cool_after=1000)
    for number in range(failures):
        assert 0 <= backoff.next_s() <= min(cap_s, base_s * 2**number)
    assert backoff.failures == failures


def test_waits_are_spread_over_the_whole_range():
    waits = [Backoff(base_s=8.0).next_s() for _ in range(200)]
    assert min(waits) < 2 and max(waits) > 6


def test_a_service_that_fails_often_is_left_alone_for_a_while():
    backoff = Backoff(base_s=0.001, cool_after=3, cool_s=30.0)
    assert [backoff.next_s() >= 30 for _ in range(5)] == [False, False, True, True, True]


def test_something_good_ends_it():
    backoff = Backoff(base_s=0.5)
    for _ in range(20):
        backoff.next_s()
    backoff.reset()
    assert backoff.failures == 0 and backoff.next_s() <= 0.5


def test_a_very_long_outage_overflows_nothing():
    backoff = Backoff()
    assert all(backoff.next_s() <= 60 for _ in range(5000))
