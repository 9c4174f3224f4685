"""Takes records to the ledger, in a thread of its own, and keeps them while it refuses.

The ledger never holds up the trades: whoever commits waits for records a moment at most, and not at all while the ledger
is known to refuse. The thread is the recorder's own: other users of the ledger, and one that hangs, cost no more than that
moment. Records that the ledger refuses wait here, bounded, and are tried again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool

from pumpwatch.errors import StorageError
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store.pending_records import PendingRecords

log = logging.getLogger(__name__)

RETRY_S = 1.0


class Recorder:
    """Belongs to one greenlet at a time, except `pending`, into which anyone on the hub may put."""

    def __init__(self, write: Callable[[Records], None], stats: Stats) -> None:
        self._write, self._stats = write, stats
        self._thread = ThreadPool(1)  # one flight at a time: it has room whenever `spawn` is called, so that never waits
        self.pending = PendingRecords(stats)
        self._flight: tuple[Records, AsyncResult[None]] | None = None
        self._refused_at: float | None = None
        self._slow = False  # the flight was waited for in vain
        self._failed = ""  # the last error that was no StorageError

    @property
    def holds_something(self) -> bool:
        """Whether there are records that the ledger has not taken."""
        return bool(self.pending or self._flight)

    def rest(self) -> Records:
        """Return what the ledger has not taken; what it is at work on is part of it, and stays."""
        records = Records()
        if self._flight is not None:
            records.extend(self._flight[0])
        waiting = self.pending.take_records()
        self.pending.add(waiting)
        records.extend(waiting)
        return records

    def flush(self, wait_s: float, *, at_once: bool = False) -> bool:
        """Have what waits written; return whether the ledger took all of it within `wait_s`.

        While the ledger refuses it is tried each RETRY_S, and not waited for, nor is one that did not answer waited for again;
        `at_once` tries and waits all the same.
        """
        end = time.monotonic() + wait_s
        while self.holds_something:
            refused = self._refused_at is not None and not at_once
            if self._flight is None:
                if refused and time.monotonic() - (self._refused_at or 0.0) < RETRY_S:
                    return False
                self._take_off()
            assert self._flight is not None
            records, outcome = self._flight
            outcome.wait(0 if refused or (self._slow and not at_once) else max(0.0, end - time.monotonic()))
            if not outcome.ready():
                self._slow = True
                return False
            self._flight, self._slow = None, False
            if not self._landed(records, outcome.exception):
                return False
        return True

    def _take_off(self) -> None:
        records = self.pending.take_records()
        try:
            self._flight = records, self._thread.spawn(self._write, records)
        except BaseException:
            self.pending.put_back(records)
            raise

    def _landed(self, records: Records, error: BaseException | None) -> bool:
        if error is None:
            self._refused_at, self._failed = None, ""
            self.pending.written()
            return True
        self.pending.put_back(records)
        self._refused_at = time.monotonic()
        self._stats.add("ledger_refusals_total")
        text = f"{type(error).__name__}: {error}"
        if not isinstance(error, StorageError) and text != self._failed:  # a fault of ours must not hold up the trades either
            self._failed = text
            log.error("records failed, they wait", exc_info=error)
        return False
