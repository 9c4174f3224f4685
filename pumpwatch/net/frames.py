"""Frames of one venue on their way from the sockets to the parser, kept as one JSON array.

Every connection of a venue decrypts into the same buffer. Splitting a frame off turns its header into `,` and spaces, in
place, so that by the time the parser comes the buffer already reads `[frame, frame, ...]`: no slice, no copy and no
object a frame. What the array cannot hold (control frames, fragments) is taken out of it on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pumpwatch.model import Int64

if TYPE_CHECKING:
    from pumpwatch.net.connection import Connection

FIRST_BYTES = 1_048_576


@dataclass(slots=True)
class Frames:
    """Frames of one venue in order of arrival.

    text is a JSON array of them all, valid until the buffer's next `take`. stops[i] is where frame i ends. runs says which
    frames came together: (frames up to here, received_at in ns, connection).
    """

    text: memoryview
    stops: list[int]
    runs: list[tuple[int, int, Connection]]

    def __len__(self) -> int:
        return len(self.stops)

    def array(self, first: int, last: int) -> bytes | memoryview:
        """Return frames [first, last) as a JSON array."""
        if first == 0 and last == len(self.stops):
            return self.text
        start = self.stops[first - 1] if first else 0
        return b"[" + bytes(self.text[start : self.stops[last - 1]]).lstrip(b" ")[1:] + b"]"

    def payload(self, index: int) -> bytes:
        """Return one frame's payload."""
        start = self.stops[index - 1] if index else 0
        return bytes(self.text[start : self.stops[index]]).lstrip(b" ")[1:].lstrip(b" ")

    def received_at(self, first: int, last: int) -> Int64:
        """Return when each of the frames [first, last) was read, in ns."""
        ends = np.fromiter((run[0] for run in self.runs), np.int64, len(self.runs))
        counts = np.diff(np.clip(ends, first, last), prepend=first)
        return np.repeat(np.fromiter((run[1] for run in self.runs), np.int64, len(self.runs)), counts)

    def connection(self, index: int) -> Connection:
        """Return the connection that frame `index` came from."""
        return next(run[2] for run in self.runs if index < run[0])

    def connections(self) -> Iterator[Connection]:
        """Yield every connection that sent something, perhaps more than once."""
        return (run[2] for run in self.runs)


class FrameBuffer:
    """Where the connections of one venue put their frames until the parser takes them."""

    def __init__(self) -> None:
        self.data = bytearray(FIRST_BYTES)
        self.view = memoryview(self.data)
        self.end = 0  # up to here everything is whole frames, or blank
        self.stops: list[int] = []
        self._runs: list[tuple[int, int, Connection]] = []

    def reserve(self, size: int) -> None:
        """Make room for `size` bytes behind `end`, and one more for the closing bracket."""
        needed = self.end + size + 1
        if needed > len(self.data):
            grown = bytearray(max(needed, 2 * len(self.data)))
            grown[: self.end] = self.view[: self.end]
            self.data, self.view = grown, memoryview(grown)

    def note(self, received_at_ns: int, connection: Connection) -> None:
        """Say who the frames since the last note came from, and when they were read."""
        known = self._runs[-1][0] if self._runs else 0
        if len(self.stops) > known:
            self._runs.append((len(self.stops), received_at_ns, connection))

    def take(self) -> Frames | None:
        """Hand over everything and start afresh; None when there is nothing."""
        if not self.stops:
            self.end = 0
            return None
        first = self.data.find(b",")
        self.data[first] = 0x5B
        self.data[self.end] = 0x5D
        frames = Frames(self.view[first : self.end + 1], [stop - first for stop in self.stops], self._runs)
        self.stops, self._runs, self.end = [], [], 0
        return frames
