"""Clocks, and that a step of the wall clock is noticed."""

from __future__ import annotations

import pytest

from pumpwatch.clock import ClockWatch, FakeClock


@pytest.mark.parametrize("step_s", [-3600.0, -120.0, -0.6, 0.6, 5 * 86_400.0])
def test_a_step_is_noticed_once_in_either_direction(step_s: float) -> None:
    clock = FakeClock()
    watch = ClockWatch(clock)
    clock.advance(1.0)
    assert watch.check() == 0.0
    clock.advance(1.0)
    clock.step(step_s)
    assert watch.check() == pytest.approx(step_s, abs=1e-6)
    clock.advance(1.0)
    assert watch.check() == 0.0


def test_time_that_passes_and_a_clock_that_is_slewed_are_no_step() -> None:
    clock = FakeClock()
    watch = ClockWatch(clock)
    clock.advance(7200.0)  # a machine that was busy
    assert watch.check() == 0.0
    clock.advance(1.0)
    clock.step(0.1)
    assert watch.check() == 0.0


def test_a_fake_clock_steps_its_wall_time_alone() -> None:
    clock = FakeClock()
    wall_ns, monotonic = clock.now_ns(), clock.monotonic()
    clock.step(-90.0)
    assert clock.now_ns() == wall_ns - 90_000_000_000
    assert clock.monotonic() == monotonic
    clock.advance(2.0)
    assert clock.monotonic() == monotonic + 2.0
