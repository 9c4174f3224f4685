"""Write records (gaps, connection events, quarantine) to the ledger, in a thread of their own.

One recorder serves the whole collector: feeds, drains and listings call `record`, and the committer calls `flush` before each
commit. The ledger never holds up the trades: a commit waits for records for a moment, and not at all while the ledger is known
to refuse. The thread is the recorder's own, so other users of the ledger, and a ledger that hangs, cost no more than that
moment. Records that the ledger refuses wait here, bounded (pending_records.py), and are written again. Before trades overtake
them they are kept in a file, for which a commit waits a moment too, so that a kill then does not hide a gap.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

import gevent
from gevent.event import AsyncResult, Event
from gevent.threadpool import ThreadPool

from pumpwatch.errors import StorageError
from pumpwatch.model import Gap, GapState
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store.pending_records import GapKey, PendingRecords, gap_key

log = logging.getLogger(__name__)

RETRY_S = 1.0
GATHER_S = 0.1  # records wait at most so long for trades to be committed with
COUNTED_KEPT = 10_000  # gaps of each kind that are remembered as counted


class Recorder:
    """Takes records from any greenlet; `flush` and `rest` belong to one greenlet at a time.

    `arrived` is set when something is to be written.
    """

    def __init__(self, write: Callable[[Records], None], stats: Stats,
                 keep: Callable[[Records], bool] = lambda records: True) -> None:
        self._write, self._stats, self._keep = write, stats, keep
        self._thread = ThreadPool(1)  # one write at a time: it has room whenever `spawn` is called, so that never waits
        self._pending = PendingRecords(stats)
        self._counted_jumps: dict[tuple[GapKey, GapState], None] = {}  # gaps that a jump in ids proves; the others may grow
        self._counted: dict[tuple[GapKey, GapState], None] = {}
        self._in_flight: tuple[Records, AsyncResult[None]] | None = None
        self._keep_thread = ThreadPool(1)
        self._keeping: AsyncResult[bool] | None = None
        self._changes = 0  # how often something was recorded
        self._kept = 0  # `_changes` as of the last `keep`; 0: nothing is kept, -1: it failed
        self._refused_at: float | None = None
        self._slow = False  # the write in flight was waited for in vain
        self._failed = ""  # the last error that was not a StorageError
        self._wake: gevent.Greenlet[[], None] | None = None
        self.arrived = Event()
        self.gaps_written = 0  # writes with gaps or fills in them that the ledger took

    @property
    def holds_something(self) -> bool:
        """Return whether there are records that the ledger has not taken."""
        return bool(self._pending or self._in_flight)

    def record(self, records: Records) -> None:
        """Have records written soon. Never blocks. A gap that was recorded before and has a later end now grows."""
        for gap in records.gaps:
            self._count(gap)
        self._pending.add(records)
        self._changes += bool(records)
        if self.holds_something and (self._wake is None or self._wake.ready()):
            self._wake = gevent.spawn_later(GATHER_S, self.arrived.set)

    def record_loss(self, exchange: str, market_type: str, from_ns: int, to_ns: int, reason: str) -> None:
        """Record that trades of a venue in [from_ns, to_ns) are lost. Losses of one reason are one gap until `end_losses`."""
        self._count(self._pending.add_loss(exchange, market_type, from_ns, to_ns, reason))
        self._changes += 1

    def end_losses(self, *reasons: str) -> None:
        """End the gaps of these reasons: the next loss is another gap."""
        self._pending.end_losses(reasons)

    def forget_gaps(self) -> None:
        """Forget gaps and connection events that are not written yet: another process read what they speak of."""
        records = self._pending.take_records()
        self._pending.add(Records(quarantine=records.quarantine))

    def rest(self) -> Records:
        """Return what the ledger has not taken, including what it is writing; all of it stays here."""
        records = Records()
        if self._in_flight is not None:
            records.extend(self._in_flight[0])
        records.extend(self._pending.records())
        return records

    def flush(self, wait_s: float, *, at_once: bool = False) -> bool:
        """Write what waits; return whether the ledger took all of it within `wait_s`.

        A ledger that refuses is tried each RETRY_S and not waited for, and a slow write is waited for once. `at_once` tries and
        waits in any case. Records that the ledger did not take are kept on disk, which is waited for as long, and once where it
        is slow.
        """
        written = self._write_waiting(wait_s, at_once)
        self._keep_rest(wait_s)
        return written

    def _write_waiting(self, wait_s: float, at_once: bool) -> bool:
        end = time.monotonic() + wait_s
        while self.holds_something:
            refused = self._refused_at is not None and not at_once
            if self._in_flight is None:
                if refused and time.monotonic() - (self._refused_at or 0.0) < RETRY_S:
                    return False
                self._start_write()
            assert self._in_flight is not None
            records, outcome = self._in_flight
            outcome.wait(0 if refused or (self._slow and not at_once) else max(0.0, end - time.monotonic()))
            if not outcome.ready():
                self._slow = True
                return False
            self._in_flight, self._slow = None, False
            if not self._written(records, outcome.exception):
                return False
        return True

    def _keep_rest(self, wait_s: float) -> None:
        """Make the file on disk have what the ledger has not taken."""
        if self._keeping is not None:
            if not self._keeping.ready():
                return
            self._kept = self._kept if self._keeping.value else -1
            self._keeping = None
        wanted = self._changes if self.holds_something else 0
        if wanted != self._kept:
            self._kept = wanted
            rest = self.rest()  # without fills, which may be many: what is forgotten of them is found out again
            self._keeping = self._keep_thread.spawn(self._keep, replace(rest, fills=[]))
            self._keeping.wait(wait_s if wanted else 0)

    def _count(self, gap: Gap) -> None:
        """Count a gap once, however often it is recorded as it grows."""
        counted = self._counted if gap.first_id is None else self._counted_jumps
        key = gap_key(gap), gap.state
        known = key in counted
        counted.pop(key, None)
        counted[key] = None  # the one recorded last is forgotten last
        if known:
            return
        if len(counted) > COUNTED_KEPT:
            del counted[next(iter(counted))]
        self._stats.add("gaps_total", venue=f"{gap.exchange}.{gap.market_type}", state=gap.state)

    def _start_write(self) -> None:
        records = self._pending.take_records()
        try:
            self._in_flight = records, self._thread.spawn(self._write, records)
        except BaseException:
            self._pending.put_back(records)
            raise

    def _written(self, records: Records, error: BaseException | None) -> bool:
        """Note how a write ended; return whether the ledger took the records."""
        if error is None:
            self._refused_at, self._failed = None, ""
            self.gaps_written += bool(records.gaps or records.fills)
            self._pending.mark_written()
            return True
        self._pending.put_back(records)
        self._refused_at = time.monotonic()
        self._stats.add("ledger_refusals_total")
        text = f"{type(error).__name__}: {error}"
        if not isinstance(error, StorageError) and text != self._failed:  # an error in our code must not hold up the trades
            self._failed = text
            log.error("records failed, they wait", exc_info=error)
        return False
