"""Reads every closed segment again, slowly, all day long, so that damage is found before it is needed.

A round begins at the start and then once a day, the newest file first. It takes a fortieth of one core while it runs, about
25 MB/s, in a thread of its own and in steps of some milliseconds. What it finds goes to the journal, which makes gaps of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import gevent
from gevent.threadpool import ThreadPool

from pumpwatch.clock import Clock
from pumpwatch.stats import Stats
from pumpwatch.store.segment import Segment
from pumpwatch.store.soundness import Soundness

log = logging.getLogger(__name__)

ROUND_S = 86_400.0
STEP_S = 0.005
REST = 40  # a step is followed by so many times its length of rest
IDLE_S = 60.0


class ScrubbedJournal(Protocol):
    """What is asked of the journal."""

    def closed_segments(self) -> Sequence[Segment]:
        """Return the segments that are written no more, oldest first; any thread."""

    def found_damage(self, path: Path, batches: Mapping[int, str], index_damaged: bool, whole: str) -> None:
        """Take what was found. In the journal's thread."""


class Scrub:
    """A greenlet (`run`) and a thread."""

    def __init__(self, journal: ScrubbedJournal, clock: Clock, stats: Stats) -> None:
        self._journal, self._clock, self._stats = journal, clock, stats
        self._thread = ThreadPool(1)

    def run(self) -> None:
        """Scrub round after round. Ends when it is killed."""
        while True:
            began_s = self._clock.monotonic()
            self.once()
            while self._clock.monotonic() - began_s < ROUND_S:
                gevent.sleep(IDLE_S)

    def once(self) -> None:
        """Look at every segment that is closed now."""
        damaged = 0
        segments = list(reversed(self._journal.closed_segments()))
        for segment in segments:
            damaged += not self._look(segment)
        self._stats.add("journal_scrubs_total")
        if segments:
            log.info("journal scrubbed segments=%d damaged=%d", len(segments), damaged)

    def _look(self, segment: Segment) -> bool:
        look = Soundness(segment, time.thread_time)
        try:
            done = False
            while not done:
                done, used_s = self._thread.apply(_step, (look,))
                gevent.sleep(max(0.001, used_s * REST))
        finally:
            self._thread.spawn(look.close)  # behind a step that still runs
        if not look.good:
            self._journal.found_damage(segment.path, look.batches, look.index_damaged, look.whole)
        return look.good


def _step(look: Soundness) -> tuple[bool, float]:
    """In the thread: look on; return whether all was seen, and how much of a core that took, whatever else kept it busy."""
    started = time.thread_time()
    done = look.step(STEP_S)
    return done, time.thread_time() - started
