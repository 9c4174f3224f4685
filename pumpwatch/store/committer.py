"""Hands batches to the journal: one group commit at a time, in a thread, and never loses one that failed.

Records go to the ledger first: a gap must be known before the trades that step over it are stored, or a crash between
the two would make it look as if nothing were missing. That order is given up where the ledger does not answer in
RECORDS_WAIT_S: trades are committed whatever the ledger does, and what it refuses waits, on disk too where that can be
written. A gap is recorded as filled only after the trades that fill it are stored; where they were dropped it stays open.

While the disk refuses, batches wait here in memory up to a limit and commits are tried again; beyond the limit the oldest
are dropped, and each drop is in a gap record with its bounds. A batch that fails for a reason of its own, again and again
while others are stored, is halved until the trade to blame is found, and that one goes to quarantine.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from gevent.event import AsyncResult, Event
from gevent.threadpool import ThreadPool

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_MS, Clock
from pumpwatch.errors import StorageError
from pumpwatch.model import Gap, GapState, TradeBatch
from pumpwatch.records import KEPT_BYTES, PassedId, Quarantined, Records
from pumpwatch.stats import Stats
from pumpwatch.store.recorder import Recorder

log = logging.getLogger(__name__)

RETRY_S = 1.0
COMMIT_ROWS = 200_000  # of a commit, about: what waited for a disk is stored in parts
SUSPECT_AFTER = 3  # equal errors that no disk is to blame for, before batches are committed one by one
LATENCY_BINS_MS = 10_000
DROPPED = "trades dropped: the journal refused them and memory is full"
UNSTORABLE = "trades that cannot be stored, see the quarantine"
PASSED_KEPT = 100_000
RECORDS_WAIT_S = 0.2  # trades wait so long for the records that belong before them
LAST_WAIT_S = 1.5  # and a stop so long for the last records


class CommitJournal(Protocol):
    """What the committer asks of the journal."""

    def pass_over(self, passed: Sequence[PassedId]) -> None:
        """Count these ids as seen, durably with the next commit. In its thread."""

    def commit(self, batches: Sequence[TradeBatch]) -> int:
        """Make all of it durable and return the batch id; or raise StorageError with nothing stored. In its thread."""

    def record(self, records: Records) -> None:
        """Make all of it durable, or raise StorageError; harmless when repeated. In the recorder's thread."""


@dataclass(slots=True)
class Load:
    """A batch that waits, the gaps that are filled once it and all before it are stored, and the ids that no trade has."""

    batch: TradeBatch
    fills: list[Gap] = field(default_factory=list)
    passed: list[PassedId] = field(default_factory=list)


@dataclass(slots=True)
class Flight:
    """What the journal's thread is at work on. It goes on there whatever happens to the greenlet that waits for it."""

    loads: list[Load]
    outcome: AsyncResult[tuple[int, TradeBatch]]


class Committer:
    """A greenlet (`run`) between the pipeline, the journal's thread, and the recorder's own.

    `on_durable(batch_id, batch)` is called after each commit, in order.
    """

    def __init__(self, journal: CommitJournal, thread: ThreadPool, catalogue: Catalogue, clock: Clock, stats: Stats,
                 memory_limit_trades: int, on_durable: Callable[[int, TradeBatch], None]) -> None:
        self._journal, self._thread, self._catalogue = journal, thread, catalogue
        self._clock, self._stats, self._limit, self._on_durable = clock, stats, memory_limit_trades, on_durable
        self._waiting: deque[Load] = deque()
        self._waiting_trades = 0  # with those in flight
        self._recorder = Recorder(journal.record, stats)
        self._flight: Flight | None = None
        self._arrived, self._stopping = Event(), Event()
        self._refused = ""
        self._error, self._errors = "", 0  # the last one that was no StorageError, and how often in a row
        self._passed: list[PassedId] = []  # that no batch came with yet
        self._has_fills = False  # gaps that waiting batches fill
        self._filled: list[Gap] = []  # their last trades are stored
        self._proven = False  # while batches are committed one by one: another one was stored
        self.latency_ms = np.zeros(LATENCY_BINS_MS, np.int64)  # frames read to durable: trades by ms, the last bin is more

    @property
    def waiting_trades(self) -> int:
        """Trades that are in memory only."""
        return self._waiting_trades

    @property
    def oldest_waiting_ns(self) -> int:
        """When the oldest of the trades that are in memory only was received, 0 where none is."""
        first = next(iter(self._flight.loads if self._flight and self._flight.loads else self._waiting), None)
        return int(first.batch.received_at.min()) if first is not None else 0

    @property
    def holds_something(self) -> bool:
        """Whether the journal or the ledger has not taken all of it: trades, or records beside them."""
        return bool(self._waiting or self._flight or self._recorder.holds_something)

    def put(self, batch: TradeBatch | None, records: Records) -> None:
        """Take trades and records for the next commit. Never blocks."""
        fills = [gap for gap in records.gaps if gap.state == GapState.FILLED]
        self._has_fills |= bool(fills)
        if batch is not None and len(batch):
            self._waiting.append(Load(batch, list(fills), self._passed + records.passed))
            self._passed = []
            self._waiting_trades += len(batch)
            self._drop_oldest()
        elif fills:
            loads = self._waiting or (self._flight.loads if self._flight else ())
            if loads:
                loads[-1].fills += fills
            else:
                self._recorder.pending.add(Records(gaps=fills))
        elif records.passed:
            self._passed = (self._passed + records.passed)[-PASSED_KEPT:]
        if fills:
            records = Records([gap for gap in records.gaps if gap.state != GapState.FILLED], records.connection_events,
                              records.quarantine)
        self._recorder.pending.add(records)
        if self.holds_something:
            self._arrived.set()

    def run(self) -> None:
        """Commit until stopped; then commit what is left. May be run again after it failed; nothing is forgotten."""
        if self.holds_something:
            self._arrived.set()
        while not self._stopping.is_set():
            self._arrived.wait(RETRY_S if self._recorder.holds_something else None)
            self._arrived.clear()
            if not self._commit():
                self._stopping.wait(RETRY_S)
            if self._waiting or self._flight:
                self._arrived.set()
        self.flush()

    def stop(self) -> None:
        """End `run` after it has committed what is left."""
        self._stopping.set()
        self._arrived.set()

    def flush(self) -> bool:
        """Commit all that is here; return whether journal and ledger took it. Not while `run` runs."""
        self._recorder.flush(RECORDS_WAIT_S, at_once=True)
        while self._waiting or self._flight:
            if not self._commit():
                return False
        return self._recorder.flush(LAST_WAIT_S, at_once=True)

    def rest(self) -> Records:
        """Return every record that the ledger has not taken, for the end of a run. Where trades wait, no gap is filled."""
        if not self._waiting and not self._flight:
            self._settle_fills()
        return self._recorder.rest()

    def _commit(self) -> bool:
        """Commit once; False where the journal refuses. Raises what is neither a success nor a StorageError."""
        self._recorder.flush(RECORDS_WAIT_S)
        flight = self._flight or self._take_off()
        if flight is None:
            return True
        flight.outcome.wait()  # killed here, the next call learns what became of it: nothing is committed twice
        self._flight = None
        error = flight.outcome.exception
        if error is None:
            self._landed(flight)
            return True
        if not isinstance(error, StorageError):
            return self._failed(flight, error)
        self._put_back(flight)
        if not self._refused:
            log.error("journal refuses, trades are kept in memory reason=%s waiting=%d", error, self._waiting_trades)
        self._refused = str(error)
        self._stats.add("journal_refusals_total")
        return False

    def _take_off(self) -> Flight | None:
        alone = self._errors >= SUSPECT_AFTER
        loads: list[Load] = []
        rows = 0
        while self._waiting and (not loads or (not alone and rows + len(self._waiting[0].batch) <= COMMIT_ROWS)):
            loads.append(self._waiting.popleft())
            rows += len(loads[-1].batch)
        if not loads:
            return None
        flight = self._flight = Flight(loads, AsyncResult())  # seen while `spawn` waits for the journal's thread
        try:
            flight.outcome = self._thread.spawn(self._store, [load.batch for load in loads],
                                                [one for load in loads for one in load.passed])
        except BaseException:
            self._flight = None
            self._put_back(flight)
            raise
        return flight

    def _store(self, batches: list[TradeBatch], passed: list[PassedId]) -> tuple[int, TradeBatch]:
        """In the journal's thread."""
        batch = TradeBatch.concat(batches)
        if passed:
            self._journal.pass_over(passed)
        return self._journal.commit([batch]), batch

    def _landed(self, flight: Flight) -> None:
        result = flight.outcome.get()
        assert result is not None
        batch_id, batch = result
        self._recorder.pending.settled((DROPPED, UNSTORABLE))
        self._filled += [gap for load in flight.loads for gap in load.fills]
        if self._errors < SUSPECT_AFTER:  # batches come in order
            self._settle_fills()
        self._waiting_trades -= len(batch)
        if self._refused:
            self._refused = ""
            log.warning("journal takes trades again stored=%d waiting=%d", len(batch), self._waiting_trades)
        if self._errors >= SUSPECT_AFTER:
            self._proven = True
        else:
            self._errors = 0
        self._trust_again()
        self._note_latency(batch)
        self._on_durable(batch_id, batch)

    def _put_back(self, flight: Flight) -> None:
        self._waiting.extendleft(reversed(flight.loads))
        self._drop_oldest()

    def _failed(self, flight: Flight, error: BaseException) -> bool:
        """Keep what failed and raise, or find out what in it is to blame where others are stored."""
        text = f"{type(error).__name__}: {error}"
        alone = self._errors >= SUSPECT_AFTER  # then it is one batch
        self._errors = self._errors + 1 if alone or text == self._error else 1
        self._error = text
        if not alone:
            self._put_back(flight)
            raise error
        if not self._proven:  # the next one may show whether it is this one or the journal
            self._waiting.extend(flight.loads)
            raise error
        for load in flight.loads:
            self._blame_within(load, text)
        self._trust_again()
        return True

    def _trust_again(self) -> None:
        if not self._waiting:
            self._errors, self._proven = 0, False
            self._settle_fills()

    def _settle_fills(self) -> None:
        """Record gaps as filled whose trades are stored, with all that came before them."""
        if self._filled:
            self._recorder.pending.add(Records(gaps=self._filled))
            self._filled = []

    def _blame_within(self, load: Load, reason: str) -> None:
        batch = load.batch
        if len(batch) > 1:
            half = len(batch) // 2
            self._waiting.extendleft([Load(batch.take(slice(half, None)), load.fills), Load(batch.take(slice(0, half)))])
            return
        exchange, market_type = self._venue_of(int(batch.instrument[0]))
        log.error("trade quarantined, it cannot be stored venue=%s.%s reason=%s", exchange, market_type, reason)
        self._stats.add("unstorable_trades_total")
        self._waiting_trades -= 1
        at_ns = int(batch.timestamp[0])
        self._recorder.pending.add(Records(quarantine=[Quarantined(
            self._clock.now_ns(), exchange, market_type, f"cannot be stored: {reason}",
            repr([None if column is None else column[0] for column in batch.columns()]).encode()[:KEPT_BYTES])]))
        self._recorder.pending.lost(exchange, market_type, at_ns, at_ns + 1, UNSTORABLE)

    def _note_latency(self, batch: TradeBatch) -> None:
        ms = (self._clock.now_ns() - batch.received_at) // NS_PER_MS
        counts = np.bincount(np.clip(ms, 0, LATENCY_BINS_MS - 1))
        self.latency_ms[: len(counts)] += counts
        self._stats.add("commits_total")
        self._stats.add("durable_trades_total", len(batch))
        self._stats.set("last_commit_ns", self._clock.now_ns())

    def _drop_oldest(self) -> None:
        """Drop until the rest fits; never what the journal is at work on, which may be stored, nor the newest batch."""
        while self._waiting_trades > self._limit and len(self._waiting) > 1:
            batch = self._waiting.popleft().batch
            self._waiting_trades -= len(batch)
            for load in self._waiting if self._has_fills else ():
                load.fills.clear()  # it may have been a part of what fills them: they stay open
            self._has_fills = False
            self._stats.add("dropped_trades_total", len(batch))
            self._lose(batch)

    def _lose(self, batch: TradeBatch) -> None:
        """Name what is dropped, with the bounds of its trades."""
        order = np.argsort(batch.instrument, kind="stable")
        times, numbers = batch.timestamp[order], batch.instrument[order]
        starts = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))
        bounds = zip(numbers[starts].tolist(), np.minimum.reduceat(times, starts).tolist(),
                     np.maximum.reduceat(times, starts).tolist(), strict=True)
        for number, first_ns, last_ns in bounds:
            self._recorder.pending.lost(*self._venue_of(number), first_ns, last_ns + 1, DROPPED)

    def _venue_of(self, number: int) -> tuple[str, str]:
        return self._catalogue.venues[number] if 0 <= number < len(self._catalogue) else ("", "")


def percentile_ms(latency_ms: np.ndarray[tuple[int], np.dtype[np.int64]], share: float) -> int:
    """Return the ms within which `share` of the trades became durable; 0 without trades."""
    total = int(latency_ms.sum())
    return int(np.searchsorted(np.cumsum(latency_ms), share * total)) if total else 0
