"""The program's clocks, so that tests can replace time."""

from __future__ import annotations

import time

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
STEP_S = 0.5  # NTP never slews by this much in a second


class Clock:
    """The machine's clocks: wall time in ns UTC, and a monotonic one in seconds."""

    def now_ns(self) -> int:
        """Return the wall clock in nanoseconds since 1970, UTC."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps back."""
        return time.monotonic()


class ClockWatch:
    """Detects steps of the wall clock by comparing it with the monotonic clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall_ns, self._monotonic = clock.now_ns(), clock.monotonic()

    def check(self) -> float:
        """Return the step of the wall clock since the last check in seconds: negative for a step back, 0.0 for none."""
        wall_ns, monotonic = self._clock.now_ns(), self._clock.monotonic()
        step_s = (wall_ns - self._wall_ns) / NS_PER_S - (monotonic - self._monotonic)
        self._wall_ns, self._monotonic = wall_ns, monotonic
        return step_s if abs(step_s) >= STEP_S else 0.0


class FakeClock(Clock):
    """A clock that moves only when a test moves it."""

    def __init__(self, now_ns: int = 1_700_000_000 * NS_PER_S) -> None:
        self._now_ns = now_ns
        self._stepped_ns = 0

    def now_ns(self) -> int:
        return self._now_ns + self._stepped_ns

    def monotonic(self) -> float:
        return self._now_ns / NS_PER_S

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds`."""
        self._now_ns += int(seconds * NS_PER_S)

    def step(self, seconds: float) -> None:
        """Move the wall clock alone by `seconds`; a negative value moves it back."""
        self._stepped_ns += int(seconds * NS_PER_S)
