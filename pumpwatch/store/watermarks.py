"""Up to which batch each sink has answered, and up to where its answers survive a power cut of its host.

The first is what a sink has while nothing happens; the second (`safe`) is where sending begins again after a start of
the collector or of the sink, and what a segment must lie before to be removed. Both travel with the journal's commits,
so after a crash the stored ones are a little old: a sink then gets a little again, which is harmless.
"""

from __future__ import annotations

import math
import sqlite3
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from pumpwatch.store.segment import Segment
from pumpwatch.store.sqlite import connect

SAFE = " safe"  # ends the name under which a sink's second mark is stored
STEP_S = 1.0  # answers are remembered at most so often


class Watermarks:
    """The marks of every sink, by batch id. Any thread."""

    def __init__(self, segments: Callable[[], Sequence[Segment]]) -> None:
        self._segments = segments
        self._marks: dict[str, int] = {}
        self._stored: dict[str, int] = {}

    def load(self, stored: Mapping[str, int]) -> None:
        """Take the marks that a folder holds. A sink without a second mark gets everything again."""
        self._marks, self._stored = dict(stored), dict(stored)

    def acknowledge(self, sink: str, batch_id: int, safe_id: int | None = None) -> None:
        """Move a sink's marks forward; stored with the next commit, and by `close`. None: its answers are safe at once."""
        for name, number in ((sink, batch_id), (sink + SAFE, batch_id if safe_id is None else safe_id)):
            if number > self._marks.get(name, 0):
                self._marks[name] = number

    def go_back(self, sink: str, batch_id: int) -> None:
        """Note that a sink has nothing after this batch, whatever it said before."""
        for name in (sink, sink + SAFE):
            self._marks[name] = min(batch_id, self._marks.get(name, 0))

    def acknowledged(self, sink: str) -> int:
        """Return the last batch the sink has answered for, 0 for a new sink."""
        return self._marks.get(sink, 0)

    def safe(self, sink: str) -> int:
        """Return the last batch that a power cut cannot take from the sink, 0 where nothing is known."""
        return min(self._marks.get(sink + SAFE, 0), self.acknowledged(sink))

    def backlog(self, sink: str) -> int:
        """Return how many trades the sink has not answered for."""
        return self.trades_after(self.acknowledged(sink))

    def trades_after(self, batch_id: int) -> int:
        """Return how many trades the journal holds after a batch."""
        waiting = 0
        for segment in list(self._segments()):
            if segment.first_id > batch_id:
                waiting += segment.trades
            elif segment.last_id > batch_id:
                waiting += segment.trades - _trades_up_to(segment, batch_id)
        return waiting

    def unstored(self) -> dict[str, int]:
        """Return the marks that moved since they were stored."""
        return {name: number for name, number in list(self._marks.items()) if number != self._stored.get(name)}

    def note_stored(self, marks: Mapping[str, int]) -> None:
        """Note that these are on disk."""
        self._stored.update(marks)

    def begin_segment(self) -> None:
        """Have all of them stored again: a new file holds none."""
        self._stored = {}


class Answers:
    """When a sink answered for which batch, to know which of its answers a power cut of its host cannot take back.

    An answer is safe once the sink was seen alive, without a start in between, `at_risk_s` later.
    """

    def __init__(self, safe: int) -> None:
        self.safe = safe
        self._given: deque[tuple[float, int]] = deque()

    def record(self, batch_id: int, now_s: float) -> None:
        """Note an answer."""
        step = math.ceil(now_s / STEP_S) * STEP_S
        if self._given and self._given[-1][0] == step:
            self._given.pop()
        self._given.append((step, batch_id))

    def alive(self, now_s: float, at_risk_s: float) -> int:
        """Note that the sink runs as it ran when it answered; return the last batch that is safe."""
        while self._given and (at_risk_s <= 0 or self._given[0][0] <= now_s - at_risk_s):
            self.safe = self._given.popleft()[1]
        return self.safe

    def go_back(self, batch_id: int) -> None:
        """Forget the answers after a batch."""
        self.safe = min(self.safe, batch_id)
        self._given.clear()


def _trades_up_to(segment: Segment, batch_id: int) -> int:
    """Return the trades of a segment's batches up to an id; reads the file once, for segments of an earlier run."""
    if segment.counts is None:
        counts = array("I", bytes(4 * (segment.last_id - segment.first_id + 1)))
        try:
            connection = connect(segment.path, read_only=True)
            try:
                for number, trades in connection.execute("SELECT id, trades FROM batches INDEXED BY batches_time"):
                    if segment.first_id <= number <= segment.last_id:
                        counts[number - segment.first_id] = trades
            finally:
                connection.close()
        except sqlite3.Error:
            return 0
        segment.counts = counts
    return sum(segment.counts[: batch_id - segment.first_id + 1])
