"""Staleness tells a dead connection from a quiet one."""

from __future__ import annotations

import random

import pytest

from pumpwatch.feeds.staleness import LONGEST_LOOK_S, SPAN_S, Staleness

STALE_S = 60.0


def trade(staleness: Staleness, now: float, times: list[float]) -> float:
    """Look each few seconds while trades come at these times; return the moment after the last."""
    staleness.resume(now)
    begin, seen = now, 0
    while seen < len(times):
        now += LONGEST_LOOK_S
        while seen < len(times) and begin + times[seen] <= now:
            seen += 1
        staleness.look(now, int((begin + times[seen - 1]) * 1e9) if seen else 0)
        assert not staleness.overdue(now), now - begin
    return now


def test_a_busy_connection_is_overdue_after_the_venues_own_time():
    staleness = Staleness(STALE_S)
    now = trade(staleness, 1000.0, [float(i) for i in range(300)])
    assert not staleness.overdue(now + STALE_S) and staleness.overdue(now + STALE_S + 0.1)
    assert staleness.unusual(now + 20) and not staleness.unusual(now + 9)


@pytest.mark.parametrize("mean_s", [3.0, 30.0, 300.0])
@pytest.mark.parametrize("seed", range(5))
def test_trades_at_random_never_look_overdue(mean_s, seed):
    rng, now, times = random.Random(seed), 0.0, []
    for _ in range(2000):
        now += rng.expovariate(1 / mean_s)
        times.append(now)
    trade(Staleness(STALE_S), 1000.0, times)


def test_a_silent_connection_has_four_times_its_longest_silence():
    staleness = Staleness(STALE_S)
    now = trade(staleness, 1000.0, [50.0 * i for i in range(40)])
    assert not staleness.overdue(now + 195) and staleness.overdue(now + 225)


def test_nothing_is_concluded_from_a_few_trades_or_none():
    staleness = Staleness(STALE_S)
    assert not staleness.overdue(1e6) and not staleness.unusual(1e6)
    now = trade(staleness, 1000.0, [1.0, 2.0, 30.0])
    assert not staleness.overdue(now + 1e6)


def test_a_long_silence_is_forgotten_after_hours():
    staleness = Staleness(STALE_S)
    now = trade(staleness, 1000.0, [float(i) for i in range(200)] + [255.0])
    assert not staleness.overdue(now + 200)
    now = trade(staleness, now, [float(i) for i in range(int(2.5 * SPAN_S))])
    assert staleness.overdue(now + 61)


def test_time_without_a_connection_teaches_nothing_and_a_fruitless_end_doubles_the_time():
    staleness = Staleness(STALE_S)
    now = trade(staleness, 1000.0, [float(i) for i in range(300)])
    staleness.record_false_alarm()
    staleness.resume(now + 5000)
    assert not staleness.overdue(now + 5000 + 2 * STALE_S) and staleness.overdue(now + 5000 + 2 * STALE_S + 1)
    staleness.look(now + 5010, 1)
    assert staleness.overdue(now + 5010 + STALE_S + 1)  # it trades again: as before
