"""Write records (gaps, connection events, quarantine) to the ledger in a separate thread.

One recorder serves the whole collector: feeds, drains and listings call `record`, and the committer calls `flush` before each
commit. The ledger never delays trades for long: a commit waits for records briefly, and not at all while the ledger is known to
refuse. Because the recorder has its own thread, other users of the ledger, or a ledger that hangs, cause no longer delay.
Refused records wait here in bounded memory (pending_records.py) and are written again. Before trades overtake them they are
kept in a file, for which a commit also waits briefly, so that a kill does not hide a gap.
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
GATHER_S = 0.1  # records wait at most this long for trades to be committed with
COUNTED_KEPT = 10_000  # gaps of each kind that are remembered as counted


class Recorder:
    """Takes records from any greenlet; `flush` and `rest` belong to one greenlet at a time.

    arrived: an event that is set when records wait to be written.
    """

    def __init__(self, write: Callable[[Records], None], stats: Stats,
                 keep: Callable[[Records], bool] = lambda records: True) -> None:
        self._write, self._stats, self._keep = write, stats, keep
        self._thread = ThreadPool(1)  # only one write runs at a time, so `spawn` never waits for a free thread
        self._pending = PendingRecords(stats)
        self._counted_jumps: dict[tuple[GapKey, GapState], None] = {}  # gaps that a jump in ids proves; the others may grow
        self._counted: dict[tuple[GapKey, GapState], None] = {}
        self._in_flight: tuple[Records, AsyncResult[None]] | None = None
        self._keep_thread = ThreadPool(1)
        self._keeping: AsyncResult[bool] | None = None
        self._changes = 0  # the number of calls that recorded something
        self._kept = 0  # `_changes` as of the last `keep`; 0: nothing is kept, -1: it failed
        self._refused_at: float | None = None
        self._slow = False  # the write in flight was waited for in vain
        self._failed = ""  # the last error that was not a StorageError
        self._wake: gevent.Greenlet[[], None] | None = None
        self.arrived = Event()
        self.gaps_written = 0  # writes with gaps or fills in them that the ledger took

    @property
    def holds_something(self) -> bool:
        """Return whether any records wait for the ledger."""
        return bool(self._pending or self._in_flight)

    def record(self, records: Records) -> None:
        """Queue records for the ledger. Never blocks. A known gap with a later end grows."""
        for gap in records.gaps:
            self._count(gap)
        self._pending.add(records)
        self._changes += bool(records)
        if self.holds_something and (self._wake is None or self._wake.ready()):
            self._wake = gevent.spawn_later(GATHER_S, self.arrived.set)

    def record_loss(self, exchange: str, market_type: str, from_ns: int, to_ns: int, reason: str) -> None:
        """Record that trades of a venue in [from_ns, to_ns) are lost. Losses with one reason form one gap until `end_losses`."""
        self._count(self._pending.add_loss(exchange, market_type, from_ns, to_ns, reason))
        self._changes += 1

    def end_losses(self, *reasons: str) -> None:
        """End the growing gaps of these reasons: the next loss begins another gap."""
        self._pending.end_losses(reasons)

    def forget_gaps(self) -> None:
        """Forget unwritten gaps and connection events, because another process read the trades of that time."""
        records = self._pending.take_records()
        self._pending.add(Records(quarantine=records.quarantine))

    def rest(self) -> Records:
        """Return a copy of all records that the ledger has not taken, including those of a running write."""
        records = Records()
        if self._in_flight is not None:
            records.extend(self._in_flight[0])
        records.extend(self._pending.records())
        return records

    def flush(self, wait_s: float, *, at_once: bool = False) -> bool:
        """Write the waiting records; return whether the ledger took all of them within `wait_s`.

        A ledger that refuses is retried every RETRY_S without waiting, and a slow write is waited for only once. `at_once`
        tries and waits in any case. Records that the ledger did not take are kept on disk; this waits up to `wait_s` again.
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
        """Keep on disk the records that the ledger has not taken."""
        if self._keeping is not None:
            if not self._keeping.ready():
                return
            self._kept = self._kept if self._keeping.value else -1
            self._keeping = None
        wanted = self._changes if self.holds_something else 0
        if wanted != self._kept:
            self._kept = wanted
            rest = self.rest()  # fills are left out: they may be many, and forgotten ones are found again
            self._keeping = self._keep_thread.spawn(self._keep, replace(rest, fills=[]))
            self._keeping.wait(wait_s if wanted else 0)

    def _count(self, gap: Gap) -> None:
        """Count a gap once, even if it is recorded again as it grows."""
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
        """Handle the end of a write; return whether the ledger took the records."""
        if error is None:
            self._refused_at, self._failed = None, ""
            self.gaps_written += bool(records.gaps or records.fills)
            self._pending.mark_written()
            return True
        self._pending.put_back(records)
        self._refused_at = time.monotonic()
        self._stats.add("ledger_refusals_total")
        text = f"{type(error).__name__}: {error}"
        if not isinstance(error, StorageError) and text != self._failed:  # an error in our code must not delay trades
            self._failed = text
            log.error("records not written, they are kept and retried", exc_info=error)
        return False
