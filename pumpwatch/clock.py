"""Time, in one place, so that a test can hold it still."""

from __future__ import annotations

import time

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
STEP_S = 0.5  # NTP slews by less than that in a second, whatever it is set to


class Clock:
    """The machine's clocks: wall time in ns UTC, and a monotonic one in seconds."""

    def now_ns(self) -> int:
        """Return the wall clock in nanoseconds since 1970, UTC."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps back."""
        return time.monotonic()


class ClockWatch:
    """Notices that the wall clock was stepped: it moved otherwise than the monotonic one since the last look."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall_ns, self._monotonic = clock.now_ns(), clock.monotonic()

    def look(self) -> float:
        """Return by how many seconds the clock was stepped since the last look, back being negative; 0.0 where it was not."""
        wall_ns, monotonic = self._clock.now_ns(), self._clock.monotonic()
        step_s = (wall_ns - self._wall_ns) / NS_PER_S - (monotonic - self._monotonic)
        self._wall_ns, self._monotonic = wall_ns, monotonic
        return step_s if abs(step_s) >= STEP_S else 0.0


class FakeClock(Clock):
    """A clock that moves only when told to."""

    def __init__(self, now_ns: int = 1_700_000_000 * NS_PER_S) -> None:
        self._now_ns = now_ns
        self._stepped_ns = 0

    def now_ns(self) -> int:
        return self._now_ns + self._stepped_ns

    def monotonic(self) -> float:
        return self._now_ns / NS_PER_S

    def advance(self, seconds: float) -> None:
        """Move both clocks by `seconds`."""
        self._now_ns += int(seconds * NS_PER_S)

    def step(self, seconds: float) -> None:
        """Set the wall clock by `seconds`, back where negative; the monotonic one does not notice."""
        self._stepped_ns += int(seconds * NS_PER_S)
