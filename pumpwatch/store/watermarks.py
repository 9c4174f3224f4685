"""Keep each sink's watermarks: the last acknowledged batch, and the last batch that is safe from a power cut of its host.

When the collector or the sink restarts, sending resumes after the safe batch, and only segments before it may be removed. All
marks are stored with the journal's commits, so after a crash they are slightly old: the sink then gets some trades twice, which
is harmless.

A sink may get only a share of the instruments (see `share.py`). Its two marks then apply to that share, and two more hold the
share and the last batch up to which the sink has every instrument. The journal keeps everything after that batch. When the share
grows, all marks go back to that batch, so that the missing trades are sent from the journal.
"""

from __future__ import annotations

import math
import sqlite3
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from pumpwatch.store.segment import Segment
from pumpwatch.store.share import WHOLE
from pumpwatch.store.sqlite import connect

# name suffixes of a sink's other marks: the safe batch, the last batch with every instrument, the percent of instruments
SAFE, COMPLETE, SHARE = " safe", " complete", " share"
STEP_S = 1.0  # one answer is remembered for each such step


class Watermarks:
    """The marks of every sink, as batch ids. Safe from any thread."""

    def __init__(self, segments: Callable[[], Sequence[Segment]]) -> None:
        self._segments = segments
        self._marks: dict[str, int] = {}
        self._stored: dict[str, int] = {}

    def load(self, stored: Mapping[str, int]) -> None:
        """Load the stored marks. A sink without a safe mark gets everything again."""
        self._marks, self._stored = dict(stored), dict(stored)

    def acknowledge(self, sink: str, batch_id: int, safe_id: int | None = None) -> None:
        """Move a sink's marks forward; the next commit stores them. Without `safe_id` the batch is safe at once."""
        for name, number in ((sink, batch_id), (sink + SAFE, batch_id if safe_id is None else safe_id)):
            if number > self._marks.get(name, 0):
                self._marks[name] = number

    def go_back(self, sink: str, batch_id: int) -> None:
        """Move a sink's marks back, because it may have lost everything after this batch."""
        for name in (sink, sink + SAFE, sink + COMPLETE):
            self._marks[name] = min(batch_id, self._marks.get(name, 0))

    def share(self, sink: str) -> int:
        """Return the percent of the instruments that the sink's marks apply to."""
        return self._marks.get(sink + SHARE, WHOLE)

    def complete(self, sink: str) -> int:
        """Return the last batch up to which the sink safely has every instrument; the journal must keep later batches."""
        safe = self.safe(sink)
        return safe if self.share(sink) >= WHOLE else min(safe, self._marks.get(sink + COMPLETE, 0))

    def set_share(self, sink: str, percent: int) -> int | None:
        """Set the share of the instruments that the sink gets from now on. Call it only between two deliveries.

        If the share grows, move the marks back and return the batch after which everything must be sent again; else return None.
        """
        before, complete = self.share(sink), self.complete(sink)
        if percent == before:
            return None
        moved = {sink + SHARE: percent}
        if percent < before:
            moved[sink + COMPLETE] = complete
        else:
            moved |= {sink: complete, sink + SAFE: complete, sink + COMPLETE: complete}
        self._marks = {**self._marks, **moved}  # in one step, because the journal's thread may be storing them
        return complete if percent > before else None

    def acknowledged(self, sink: str) -> int:
        """Return the last batch that the sink has acknowledged, 0 for a new sink."""
        return self._marks.get(sink, 0)

    def safe(self, sink: str) -> int:
        """Return the last batch that the sink cannot lose in a power cut, 0 if unknown."""
        return min(self._marks.get(sink + SAFE, 0), self.acknowledged(sink))

    def backlog(self, sink: str) -> int:
        """Return the number of trades that the sink has not acknowledged."""
        return self.trades_after(self.acknowledged(sink))

    def trades_after(self, batch_id: int) -> int:
        """Return the number of trades in the journal after a batch."""
        waiting = 0
        for segment in list(self._segments()):
            if segment.first_id > batch_id:
                waiting += segment.trades
            elif segment.last_id > batch_id:
                waiting += segment.trades - _trades_up_to(segment, batch_id)
        return waiting

    def trades_between(self, after_id: int, upto_id: int) -> int:
        """Return the number of trades in the journal's batches (after_id, upto_id]."""
        return self.trades_after(after_id) - self.trades_after(upto_id)

    def unstored(self) -> dict[str, int]:
        """Return the marks that have moved since they were stored."""
        return {name: number for name, number in list(self._marks.items()) if number != self._stored.get(name)}

    def mark_stored(self, marks: Mapping[str, int]) -> None:
        """Record that these marks are on disk."""
        self._stored.update(marks)

    def begin_segment(self) -> None:
        """Store all marks again with the next commit, because a new file has none."""
        self._stored = {}


def complete_marks(stored: Mapping[str, int]) -> dict[str, int]:
    """Return, for each sink, the last batch up to which it has acknowledged every instrument, by stored marks."""
    sinks = [name for name in stored if not name.endswith((SAFE, COMPLETE, SHARE))]
    return {sink: stored[sink] if stored.get(sink + SHARE, WHOLE) >= WHOLE else min(stored[sink], stored.get(sink + COMPLETE, 0))
            for sink in sinks}


class Answers:
    """The times of a sink's answers, which show the batches that a power cut of its host cannot lose.

    An answer is safe once the sink is seen running `at_risk_s` later, without a restart in between.
    """

    def __init__(self, safe: int) -> None:
        self.safe = safe
        self._given: deque[tuple[float, int]] = deque()

    def record(self, batch_id: int, now_s: float) -> None:
        """Record that the sink acknowledged a batch."""
        step = math.ceil(now_s / STEP_S) * STEP_S
        if self._given and self._given[-1][0] == step:
            self._given.pop()
        self._given.append((step, batch_id))

    def confirm(self, now_s: float, at_risk_s: float) -> int:
        """Record that the sink is still running, without a restart; return the last safe batch."""
        while self._given and (at_risk_s <= 0 or self._given[0][0] <= now_s - at_risk_s):
            self.safe = self._given.popleft()[1]
        return self.safe

    def go_back(self, batch_id: int) -> None:
        """Forget the answers after a batch."""
        self.safe = min(self.safe, batch_id)
        self._given.clear()


def _trades_up_to(segment: Segment, batch_id: int) -> int:
    """Return the number of trades in a segment up to a batch; read the file once if it is from an earlier run."""
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
