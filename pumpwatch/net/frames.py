"""Holds the frames of one venue on their way from the sockets to the parser, as one JSON array.

Every connection of a venue decrypts into the same buffer. Splitting a frame off replaces its header with `,` and spaces, in
place. When the parser takes the buffer, it already reads `[frame, frame, ...]`: no frame is sliced, copied or made an object.
Control frames and fragments are removed from the array on the way.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import count
from typing import Protocol

import numpy as np

from pumpwatch.model import Control, Int64
from pumpwatch.net.lag import Lag
from pumpwatch.net.races import Races

FIRST_BYTES = 1_048_576

next_source_number = count(1).__next__  # unique in a process; 0 means no source


class FrameSource(Protocol):
    """The connection that frames came from. The pipeline calls it after reading the frames.

    source_number: from `next_source_number`. The pipeline remembers it for longer than the connection lives.
    """

    source_number: int

    def receive_control(self, control: Control) -> None:
        """React to a frame of this source that is not trades."""

    def receive_trades(self, received_at_ns: int, traded_ns: int) -> None:
        """Record the time at which good, live trades of this source were received. traded_ns: the last trade's own time."""


class NoSource:
    """A source that ignores everything, for frames without a live connection, such as recorded ones."""

    def __init__(self) -> None:
        self.source_number = next_source_number()

    def receive_control(self, control: Control) -> None:
        """Ignore it."""

    def receive_trades(self, received_at_ns: int, traded_ns: int) -> None:
        """Ignore it."""


@dataclass(slots=True)
class Frames:
    """Frames of one venue in order of arrival.

    text: a JSON array of all frames, valid until the next `take_frames` of the buffer.
    stops[i]: the end of frame i. A run is the frames of one read of one connection: they end before run_ends, and came at
    run_times (ns) from run_sources.
    """

    text: memoryview
    stops: list[int]
    run_ends: list[int]
    run_times: list[int]
    run_sources: list[FrameSource]
    doubled: bool = False  # two connections bring the same trades, so the source of each trade matters

    def __len__(self) -> int:
        return len(self.stops)

    def within(self, first: int, most_bytes: int) -> int:
        """Return the end of the frames from `first` on that have at most `most_bytes` together, but at least one frame."""
        start = self.stops[first - 1] if first else 0
        return max(first + 1, bisect_right(self.stops, start + most_bytes, first))

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
        runs = len(self.run_ends)
        bounds = np.empty(runs + 1, np.int64)
        bounds[0], bounds[1:] = first, self.run_ends
        if first or last != len(self.stops):
            bounds.clip(first, last, out=bounds)
        return np.fromiter(self.run_times, np.int64, runs).repeat(bounds[1:] - bounds[:-1])

    def source_numbers(self, first: int, last: int) -> Int64:
        """Return the number of the source of each of the frames [first, last)."""
        ends = np.array(self.run_ends, np.int64).clip(first, last)
        return np.array([source.source_number for source in self.run_sources], np.int64).repeat(np.diff(ends, prepend=first))

    def read_at_ns(self, index: int) -> int:
        """Return when frame `index` was read."""
        return self.run_times[bisect_right(self.run_ends, index)]

    def source(self, index: int) -> FrameSource:
        """Return the source of frame `index`."""
        return self.run_sources[bisect_right(self.run_ends, index)]


class FrameBuffer:
    """Holds the frames of one venue's connections until the parser takes them; `name` is the venue's."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.lag = Lag()  # of the venue's trades: recorded by the pipeline, used to size gaps
        self.doubled = False  # some symbols are read on two connections
        self.races = Races()  # of those connections
        self.behind_since_ns = 0  # set by the sweep: data read now may have been sent since then; 0: reading is not behind
        self.data, self._other = bytearray(FIRST_BYTES), bytearray(FIRST_BYTES)
        self.view = memoryview(self.data)
        self.end = 0  # the data up to here is whole frames or blanks
        self.stops: list[int] = []
        self._run_ends: list[int] = []
        self._run_times: list[int] = []
        self._run_sources: list[FrameSource] = []
        self._taken_sources: list[FrameSource] = []  # of the frames that the parser works on

    def holds(self, source: FrameSource) -> bool:
        """Return whether frames of this source wait for the parser, or are being parsed."""
        return source in self._run_sources or source in self._taken_sources

    @property
    def oldest_ns(self) -> int:
        """The time in ns when the oldest frame that the parser has not taken was read, 0 without one."""
        return self._run_times[0] if self._run_times else 0

    def release_frames(self) -> None:
        """Record that the taken frames have been parsed."""
        self._taken_sources = []

    def reserve(self, size: int) -> None:
        """Make room for `size` bytes after `end`, and one more for the closing bracket."""
        needed = self.end + size + 1
        if needed > len(self.data):
            grown = bytearray(max(needed, 2 * len(self.data)))
            grown[: self.end] = self.view[: self.end]
            self.data, self.view = grown, memoryview(grown)

    def lag_ns(self, now_ns: int) -> int:
        """Return how late trades arrive now, in ns: the usual lag, or the time that reading is behind if that is longer."""
        behind_ns = now_ns - self.behind_since_ns if self.behind_since_ns else 0
        return self.lag.ns if abs(self.lag.ns) > behind_ns else behind_ns

    def mark_source(self, received_at_ns: int, source: FrameSource) -> None:
        """Record the source of the frames since the last call, and when they were read."""
        known = self._run_ends[-1] if self._run_ends else 0
        if len(self.stops) > known:
            self._run_ends.append(len(self.stops))
            self._run_times.append(received_at_ns)
            self._run_sources.append(source)

    def take_frames(self) -> Frames | None:
        """Return all frames and start with an empty array; None when there are no frames."""
        if not self.stops:
            self.end = 0
            return None
        first = self.data.find(b",")
        self.data[first] = 0x5B
        self.data[self.end] = 0x5D
        stops = self.stops if first == 0 else [stop - first for stop in self.stops]
        frames = Frames(self.view[first : self.end + 1], stops, self._run_ends, self._run_times, self._run_sources,
                        self.doubled)
        self._taken_sources = self._run_sources
        self.stops, self._run_ends, self._run_times, self._run_sources, self.end = [], [], [], [], 0
        self.data, self._other = self._other, self.data  # the parser keeps its buffer while the sweep fills the other
        self.view = memoryview(self.data)
        return frames
