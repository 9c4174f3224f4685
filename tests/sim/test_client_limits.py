"""Connection attempts and REST weight are counted by client address."""

from __future__ import annotations

import dataclasses

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.sim.client_limits import AddressLimits, WindowMeter
from tests.sim.fakes import NO_RULES


def test_weight_is_counted_in_windows_of_the_wall_clock() -> None:
    clock = FakeClock()
    meter = WindowMeter(clock, 60)
    assert [meter.spend(2), meter.spend(3)] == [2, 5]
    wait = meter.retry_after_s()
    assert 0 < wait <= 60 and wait == -(-(60 * NS_PER_S - clock.now_ns() % (60 * NS_PER_S)) // NS_PER_S)
    clock.advance(wait)
    assert meter.spend(1) == 1


def test_attempts_beyond_a_limit_are_rejected_with_the_time_to_wait() -> None:
    clock = FakeClock()
    limits, rules = AddressLimits(clock), dataclasses.replace(NO_RULES, connects_per_minute=2, connects_per_5_minutes=3)
    assert [limits.count_attempt("a", rules) for _ in range(2)] == [None, None]
    rejected = limits.count_attempt("a", rules)
    assert rejected is not None and rejected[0] == "too many connects a minute"
    assert (rejected[1].status, rejected[1].headers) == (429, {"Retry-After": "60"})
    assert limits.count_attempt("b", rules) is None
    clock.advance(61)
    rejected = limits.count_attempt("a", rules)
    assert rejected is not None and rejected[0] == "too many connects in five minutes"
    clock.advance(301)
    assert limits.count_attempt("a", rules) is None


def test_each_address_keeps_its_meter() -> None:
    limits = AddressLimits(FakeClock())
    assert limits.meter("a", NO_RULES) is limits.meter("a", NO_RULES) is not limits.meter("b", NO_RULES)
