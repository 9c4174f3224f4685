"""Going through frames in ranges: long ones while all are trades, down to single frames where some are not.

A range that is refused is halved until the frame to blame stands alone. The next range is as long as the run of good frames
before that one was: a single odd frame in a stream costs a few attempts, and of a flood of them each costs one.
"""

from __future__ import annotations

from pumpwatch.net.frames import Frames

MOST_FRAMES = 5_000  # of a range: a few ms
MOST_BYTES = 1 << 20


class Scan:
    """A place in frames that are being read, and how far to go next. True until all are read."""

    __slots__ = ("_bad_before", "_before", "_large", "_run", "_size", "at", "count", "frames")

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.at, self.count = 0, len(frames.stops)
        self._large = len(frames.text) > MOST_BYTES
        self._size = self._before = MOST_FRAMES  # _before: good frames between the last two bad ones
        self._run = self._bad_before = 0  # good frames since the last bad one; not all in [at, that) are good, 0: not known

    def __bool__(self) -> bool:
        return self.at < self.count

    def range(self) -> tuple[int, int]:
        """Return the [first, last) to read next."""
        first = self.at
        last = first + self._size
        if last > self.count:
            last = self.count
        if self._large and last - first > 1:
            last = min(last, self.frames.within(first, MOST_BYTES))
        return first, last

    def took(self, last: int) -> None:
        """Go on behind a range that was read."""
        self._run += last - self.at
        self.at = last
        if last >= self._bad_before:
            self._bad_before = 0
            self._size = self._next_size()
        else:
            self._size = max(1, (self._bad_before - last) // 2)

    def refused(self, last: int) -> None:
        """Try less than a range of several that was refused."""
        self._bad_before = last
        self._size = (last - self.at) // 2

    def passed(self) -> None:
        """Go on behind a single frame that was not a trade."""
        self.at += 1
        self._before, self._run, self._bad_before = self._run, 0, 0
        self._size = self._next_size()

    def _next_size(self) -> int:
        return min(MOST_FRAMES, max(1, self._run, self._before))
