"""Check every closed segment regularly and slowly, so that damage is found before the data is needed.

A round begins at the start and then once a day, with the newest file first. It takes a fortieth of one core, about 25 MB/s, in
a separate thread and in steps of some milliseconds. The journal records gaps for the damage.
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
REST = 40  # a pause is this many times as long as the step before it
IDLE_S = 60.0


class ScrubbedJournal(Protocol):
    """The journal's interface for the scrub: a proxy, because the methods block."""

    def closed_segments(self) -> Sequence[Segment]:
        """Return the closed segments, oldest first."""

    def found_damage(self, path: Path, batches: Mapping[int, str], index_damaged: bool, whole: str) -> None:
        """Record the damage that was found."""


class Scrub:
    """Checks one journal's segments, with a greenlet (`run`) and a thread that reads."""

    def __init__(self, journal: ScrubbedJournal, clock: Clock, stats: Stats) -> None:
        self._journal, self._clock, self._stats = journal, clock, stats
        self._thread = ThreadPool(1)

    def run(self) -> None:
        """Check in rounds until killed."""
        while True:
            began_s = self._clock.monotonic()
            self.once()
            while self._clock.monotonic() - began_s < ROUND_S:
                gevent.sleep(IDLE_S)

    def once(self) -> None:
        """Check every closed segment once."""
        damaged = 0
        segments = list(reversed(self._journal.closed_segments()))
        for segment in segments:
            damaged += not self._check(segment)
        self._stats.add("journal_scrubs_total")
        if segments:
            log.info("journal scrubbed segments=%d damaged=%d", len(segments), damaged)

    def _check(self, segment: Segment) -> bool:
        look = Soundness(segment, time.thread_time)
        try:
            done = False
            while not done:
                done, used_s = self._thread.apply(_step, (look,))
                gevent.sleep(max(0.001, used_s * REST))
        finally:
            self._thread.spawn(look.close)  # after a step that is still running
        if not look.good:
            self._journal.found_damage(segment.path, look.batches, look.index_damaged, look.whole)
        return look.good


def _step(look: Soundness) -> tuple[bool, float]:
    """Do one step of the check, in the thread; return whether the check is over, and the CPU seconds of this step."""
    started = time.thread_time()
    done = look.step(STEP_S)
    return done, time.thread_time() - started
