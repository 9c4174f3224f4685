"""A limit over a sliding window, in memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.net.sliding_window import SLOTS, SlidingWindows


@given(st.lists(st.tuples(st.floats(0.0, 20.0), st.integers(1, 4)), max_size=80), st.integers(4, 12),
       st.sampled_from([1.0, 6.0, 60.0]))
def test_no_window_holds_more_than_the_limit(steps: list[tuple[float, int]], limit: int, window_s: float) -> None:
    windows, now, granted = SlidingWindows(limit, window_s), 1000.0, []
    for pause_s, weight in steps:
        now += pause_s * window_s / 60
        verdict = windows.take("a", now, weight)
        held = sum(size for at, size in granted if at > now - window_s)
        if verdict.allowed:
            granted.append((now, weight))
            assert held + weight <= limit
            assert verdict.remaining <= limit - held - weight
        else:
            assert not verdict.granted
            assert 0 < verdict.wait_s <= window_s * (SLOTS + 1) / SLOTS + 1e-6
            assert windows.take("a", now + verdict.wait_s + 1e-6, weight).allowed
            granted.append((now := now + verdict.wait_s + 1e-6, weight))


def test_a_rejected_client_learns_when_to_come_back_and_others_are_not_rejected() -> None:
    windows = SlidingWindows(2, 60.0)
    assert [windows.take("a", at).remaining for at in (100.5, 110.5)] == [1, 0]
    verdict = windows.take("a", 130.0)
    assert (verdict.allowed, verdict.wait_s, verdict.reset_s) == (False, 31.0, 41.0)
    assert windows.take("b", 130.0).allowed
    assert windows.take("a", 161.0).allowed


def test_look_counts_nothing_and_count_granted_counts_beyond_the_limit() -> None:
    windows = SlidingWindows(2, 60.0)
    assert [windows.look("a", 100.0).allowed for _ in range(5)] == [True] * 5
    for _ in range(3):
        windows.count_granted("a", 100.0)
    assert not windows.look("a", 100.0).allowed


def test_a_weight_above_the_limit_is_never_granted() -> None:
    assert SlidingWindows(2, 60.0).take("a", 100.0, 3).wait_s == pytest.approx(60)


def test_a_million_clients_cost_the_memory_of_a_few_thousand() -> None:
    windows = SlidingWindows(2, 60.0, known=100)
    for number in range(250):
        windows.take(str(number), 0.0)
    assert len(windows) == 100
