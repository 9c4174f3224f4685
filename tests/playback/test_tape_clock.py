"""The clock of a replay moves times by whole seconds, and never into the future."""

from __future__ import annotations

import pytest

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.playback.tape_clock import AS_FAST_AS_TAKEN, TapeClock

NOW_NS = 1_700_000_000 * NS_PER_S + 300_000_000
FROM_NS, LENGTH_NS = 1_600_000_000 * NS_PER_S + 700_000_000, 20 * NS_PER_S


@pytest.mark.parametrize("speed", [0.5, 1.0, 10.0])
def test_times_are_moved_by_whole_seconds_so_that_the_tape_is_never_ahead_of_the_machine(speed: float) -> None:
    machine = FakeClock(NOW_NS)
    clock = TapeClock(machine, speed)
    assert clock.now_ns() == NOW_NS
    clock.start(FROM_NS, FROM_NS + LENGTH_NS)
    assert clock.shift_ns % NS_PER_S == 0
    took_s = 0
    while clock.tape_ns < FROM_NS + LENGTH_NS:
        assert clock.now_ns() == clock.tape_ns + clock.shift_ns <= machine.now_ns()
        machine.advance(0.5)
        took_s += 0.5
    assert LENGTH_NS / speed <= took_s * NS_PER_S <= LENGTH_NS / speed + 1.5 * NS_PER_S
    assert machine.now_ns() - clock.now_ns() <= 1.5 * NS_PER_S or speed < 1


def test_recorded_times_stay_and_stand_still_before_the_start() -> None:
    machine = FakeClock(NOW_NS)
    clock = TapeClock(machine, 2.0, FROM_NS)
    machine.advance(5)
    assert clock.now_ns() == FROM_NS
    clock.start(FROM_NS, FROM_NS + LENGTH_NS)
    machine.advance(3)
    assert (clock.now_ns(), clock.shift_ns) == (FROM_NS + 6 * NS_PER_S, 0)
    assert clock.monotonic() == machine.monotonic()


def test_at_the_clients_pace_it_moves_only_when_it_is_moved_and_never_back() -> None:
    machine = FakeClock(NOW_NS)
    clock = TapeClock(machine, AS_FAST_AS_TAKEN)
    clock.start(FROM_NS, FROM_NS + LENGTH_NS)
    machine.advance(100)
    assert clock.tape_ns == FROM_NS
    clock.move_to(FROM_NS + 5)
    clock.move_to(FROM_NS + 3)
    assert clock.tape_ns == FROM_NS + 5
    assert NOW_NS - 2 * NS_PER_S < FROM_NS + LENGTH_NS + clock.shift_ns <= NOW_NS
