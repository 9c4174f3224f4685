"""Hands batches to the journal: one group commit at a time, in a thread, and never loses one that failed.

While the disk refuses, batches wait here in memory up to a limit and commits are tried again; beyond the limit the oldest
are dropped, and each drop is in a gap record with its bounds. A batch that fails for a reason of its own, again and again
while others are stored, is halved until the trade to blame is found, and that one goes to quarantine.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from gevent.event import AsyncResult, Event
from gevent.threadpool import ThreadPool

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_MS, Clock
from pumpwatch.errors import StorageError
from pumpwatch.model import TradeBatch
from pumpwatch.records import KEPT_BYTES, PassedId, Quarantined, Records
from pumpwatch.stats import Stats
from pumpwatch.store.pending import PendingRecords

log = logging.getLogger(__name__)

RETRY_S = 1.0
COMMIT_ROWS = 200_000  # of a commit, about: what waited for a disk is stored in parts
SUSPECT_AFTER = 3  # equal errors that no disk is to blame for, before batches are committed one by one
LATENCY_BINS_MS = 10_000
DROPPED = "trades dropped: the journal refused them and memory is full"


class CommitJournal(Protocol):
    """What the committer asks of the journal, in the journal's thread."""

    def pass_over(self, passed: Sequence[PassedId]) -> None:
        """Count these ids as seen, durably with the next commit."""

    def commit(self, batches: Sequence[TradeBatch], records: Records | None = None) -> int:
        """Make all of it durable and return the batch id; or raise StorageError with nothing stored."""


@dataclass(slots=True)
class Flight:
    """What the journal's thread is at work on. It goes on there whatever happens to the greenlet that waits for it."""

    batches: list[TradeBatch]
    records: Records
    outcome: AsyncResult[tuple[int, TradeBatch]]


class Committer:
    """A greenlet (`run`) between the pipeline and the journal's thread.

    `on_durable(batch_id, batch)` is called after each commit, in order.
    """

    def __init__(self, journal: CommitJournal, thread: ThreadPool, catalogue: Catalogue, clock: Clock, stats: Stats,
                 memory_limit_trades: int, on_durable: Callable[[int, TradeBatch], None]) -> None:
        self._journal, self._thread, self._catalogue = journal, thread, catalogue
        self._clock, self._stats, self._limit, self._on_durable = clock, stats, memory_limit_trades, on_durable
        self._waiting: deque[TradeBatch] = deque()
        self._waiting_trades = 0  # with those in flight
        self._pending = PendingRecords(stats)
        self._parts: deque[Records] = deque()  # of records that failed as a whole
        self._flight: Flight | None = None
        self._arrived, self._stopping = Event(), Event()
        self._refused = ""
        self._error, self._errors = "", 0  # the last one that was no StorageError, and how often in a row
        self._proven = False  # while batches are committed one by one: another one was stored
        self.latency_ms = np.zeros(LATENCY_BINS_MS, np.int64)  # frames read to durable: trades by ms, the last bin is more

    @property
    def waiting_trades(self) -> int:
        """Trades that are in memory only."""
        return self._waiting_trades

    @property
    def holds_something(self) -> bool:
        """Whether anything is in memory only: trades, or records beside them."""
        return bool(self._waiting or self._pending or self._parts or self._flight)

    def put(self, batch: TradeBatch | None, records: Records) -> None:
        """Take trades and records for the next commit. Never blocks."""
        if batch is not None and len(batch):
            self._waiting.append(batch)
            self._waiting_trades += len(batch)
            self._drop_oldest()
        self._pending.add(records)
        if self.holds_something:
            self._arrived.set()

    def run(self) -> None:
        """Commit until stopped; then commit what is left. May be run again after it failed; nothing is forgotten."""
        if self.holds_something:
            self._arrived.set()
        while not self._stopping.is_set():
            self._arrived.wait()
            self._arrived.clear()
            if not self._commit():
                self._stopping.wait(RETRY_S)
            if self.holds_something:
                self._arrived.set()
        self.flush()

    def stop(self) -> None:
        """End `run` after it has committed what is left."""
        self._stopping.set()
        self._arrived.set()

    def flush(self) -> bool:
        """Commit all that is here; return whether the journal took it. Not while `run` runs."""
        while self.holds_something:
            if not self._commit():
                return False
        return True

    def _commit(self) -> bool:
        """Commit once; False where the journal refuses. Raises what is neither a success nor a StorageError."""
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
        batches: list[TradeBatch] = []
        rows = 0
        while self._waiting and (not batches or (not alone and rows + len(self._waiting[0]) <= COMMIT_ROWS)):
            batches.append(self._waiting.popleft())
            rows += len(batches[-1])
        if alone:
            records = Records() if batches else self._parts.popleft() if self._parts else self._pending.take()
        else:
            records = self._pending.take()
        if not batches and not records:
            return None
        try:
            self._flight = Flight(batches, records, self._thread.spawn(self._store, batches, records))
        except BaseException:
            self._put_back(Flight(batches, records, AsyncResult()))
            raise
        return self._flight

    def _store(self, batches: list[TradeBatch], records: Records) -> tuple[int, TradeBatch]:
        """In the journal's thread."""
        batch = TradeBatch.concat(batches)
        if records.passed:
            self._journal.pass_over(records.passed)
            records = Records(records.gaps, records.connection_events, records.quarantine)
        return self._journal.commit([batch] if len(batch) else [], records), batch

    def _landed(self, flight: Flight) -> None:
        result = flight.outcome.get()
        assert result is not None
        batch_id, batch = result
        self._pending.written()
        self._waiting_trades -= len(batch)
        if self._refused:
            self._refused = ""
            log.warning("journal takes trades again stored=%d waiting=%d", len(batch), self._waiting_trades)
        if self._errors >= SUSPECT_AFTER:
            self._proven = True
        else:
            self._errors = 0
        self._trust_again()
        if len(batch):
            self._note_latency(batch)
            self._on_durable(batch_id, batch)

    def _put_back(self, flight: Flight) -> None:
        self._waiting.extendleft(reversed(flight.batches))
        self._pending.put_back(flight.records)
        self._drop_oldest()

    def _failed(self, flight: Flight, error: BaseException) -> bool:
        """Keep what failed and raise, or find out what in it is to blame where others are stored."""
        text = f"{type(error).__name__}: {error}"
        alone = self._errors >= SUSPECT_AFTER  # then it is one batch, or records
        self._errors = self._errors + 1 if alone or text == self._error else 1
        self._error = text
        if not alone:
            self._put_back(flight)
            raise error
        if not self._proven:  # the next one may show whether it is this one or the journal
            self._waiting.extend(flight.batches)
            if flight.records:
                self._parts.append(flight.records)
            raise error
        for batch in flight.batches:
            self._blame_within(batch, text)
        self._blame_record(flight.records, text)
        self._trust_again()
        return True

    def _trust_again(self) -> None:
        if not self.holds_something:
            self._errors, self._proven = 0, False

    def _blame_within(self, batch: TradeBatch, reason: str) -> None:
        if len(batch) > 1:
            half = len(batch) // 2
            self._waiting.extendleft([batch.take(slice(half, None)), batch.take(slice(0, half))])
            return
        exchange, market_type = self._venue_of(int(batch.instrument[0]))
        log.error("trade quarantined, it cannot be stored venue=%s.%s reason=%s", exchange, market_type, reason)
        self._stats.add("unstorable_trades_total")
        self._waiting_trades -= 1
        at_ns = int(batch.timestamp[0])
        self._pending.add(Records(quarantine=[Quarantined(
            self._clock.now_ns(), exchange, market_type, f"cannot be stored: {reason}",
            repr([None if column is None else column[0] for column in batch.columns()]).encode()[:KEPT_BYTES])]))
        self._pending.lost(exchange, market_type, at_ns, at_ns + 1, "trades that cannot be stored, see the quarantine")

    def _blame_record(self, records: Records, reason: str) -> None:
        kept = [Records(gaps=[one]) for one in records.gaps]
        kept += [Records(connection_events=[one]) for one in records.connection_events]
        kept += [Records(quarantine=[one]) for one in records.quarantine]
        if len(kept) > 1:
            self._parts.extendleft(reversed(kept))
        elif kept:
            log.error("record left out, it cannot be stored record=%r reason=%s", kept[0], reason)
            self._stats.add("unstorable_records_total")

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
            batch = self._waiting.popleft()
            self._waiting_trades -= len(batch)
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
            self._pending.lost(*self._venue_of(number), first_ns, last_ns + 1, DROPPED)

    def _venue_of(self, number: int) -> tuple[str, str]:
        return self._catalogue.venues[number] if 0 <= number < len(self._catalogue) else ("", "")


def percentile_ms(latency_ms: np.ndarray[tuple[int], np.dtype[np.int64]], share: float) -> int:
    """Return the ms within which `share` of the trades became durable; 0 without trades."""
    total = int(latency_ms.sum())
    return int(np.searchsorted(np.cumsum(latency_ms), share * total)) if total else 0
