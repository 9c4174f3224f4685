"""Divide frames into ranges to read: long ranges while all frames are trades, short ones around other frames.

A rejected range is halved until the bad frame is alone. The next range is as long as the run of good frames before that frame: a
single bad frame in a stream costs a few attempts, and each frame of a flood of bad frames costs one.
"""

from __future__ import annotations

from pumpwatch.net.frames import Frames

MOST_FRAMES = 5_000  # of a range: a few ms
MOST_BYTES = 1 << 20


class Scan:
    """A position in frames, and the length of the next range. True until all frames are read."""

    __slots__ = ("_bad_before", "_before", "_large", "_run", "_size", "at", "count", "frames")

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self.at, self.count = 0, len(frames.stops)
        self._large = len(frames.text) > MOST_BYTES
        self._size = self._before = MOST_FRAMES  # _before: good frames between the last two bad ones
        self._run = self._bad_before = 0  # good frames since the last bad one; end of a range with a bad frame (0: unknown)

    def __bool__(self) -> bool:
        return self.at < self.count

    def range(self) -> tuple[int, int]:
        """Return the next range [first, last) to read."""
        first = self.at
        last = first + self._size
        if last > self.count:
            last = self.count
        if self._large and last - first > 1:
            last = min(last, self.frames.within(first, MOST_BYTES))
        return first, last

    def accept(self, last: int) -> None:
        """Continue after a range that was read."""
        self._run += last - self.at
        self.at = last
        if last >= self._bad_before:
            self._bad_before = 0
            self._size = self._next_size()
        else:
            self._size = max(1, (self._bad_before - last) // 2)

    def reject(self, last: int) -> None:
        """Try a shorter range, because a range of several frames was rejected."""
        self._bad_before = last
        self._size = (last - self.at) // 2

    def skip(self) -> None:
        """Continue after a single frame that is not a trade."""
        self.at += 1
        self._before, self._run, self._bad_before = self._run, 0, 0
        self._size = self._next_size()

    def _next_size(self) -> int:
        return min(MOST_FRAMES, max(1, self._run, self._before))
