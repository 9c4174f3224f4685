"""The clock of a replay: its wall time is the time in the tape, moved to now or as it was recorded.

The simulated venues take every time from it, so times of trades, answers and histories agree at any speed.
"""

from __future__ import annotations

import math

from pumpwatch.clock import NS_PER_S, Clock

AS_FAST_AS_TAKEN = math.inf


class TapeClock(Clock):
    """The clock of a playback. Before `start` it is the machine's clock; with `recorded_ns` it stands still at that time.

    speed: of the tape; AS_FAST_AS_TAKEN: it moves by `move_to` alone.
    """

    def __init__(self, clock: Clock, speed: float, recorded_ns: int = 0) -> None:
        self.speed, self.shift_ns = speed, 0
        self._clock, self._recorded_ns = clock, recorded_ns
        self._began: float | None = None
        self._from_ns = 0

    def start(self, from_ns: int, to_ns: int) -> None:
        """Begin at a time of the tape that ends at `to_ns`.

        Moved times end, or at speed 1 and below begin, within a second of now, so that none lies in the future. They are moved by
        whole seconds: at speed 1 the tape begins up to a second after now.
        """
        now_ns, self._from_ns = self._clock.now_ns(), from_ns
        saved_ns = to_ns - from_ns - int((to_ns - from_ns) / self.speed)
        if self._recorded_ns:
            self.shift_ns = 0
        elif saved_ns > 0:
            self.shift_ns = (now_ns - saved_ns - from_ns) // NS_PER_S * NS_PER_S
        else:
            self.shift_ns = -((from_ns - now_ns) // NS_PER_S) * NS_PER_S
            self._from_ns = now_ns - self.shift_ns
        self._began = self._clock.monotonic()

    def move_to(self, tape_ns: int) -> None:
        """Move to a time of the tape, never back."""
        self._from_ns = max(self._from_ns, tape_ns)

    @property
    def tape_ns(self) -> int:
        """Return the present time of the tape."""
        if self._began is None or self.speed == AS_FAST_AS_TAKEN:
            return self._from_ns
        return self._from_ns + int((self._clock.monotonic() - self._began) * self.speed * NS_PER_S)

    def now_ns(self) -> int:
        """Return the time in the tape, moved; see the class for the time before the start."""
        if self._began is None:
            return self._recorded_ns or self._clock.now_ns()
        return self.tape_ns + self.shift_ns

    def monotonic(self) -> float:
        """Return the machine's monotonic clock, by which limits count at any speed."""
        return self._clock.monotonic()
