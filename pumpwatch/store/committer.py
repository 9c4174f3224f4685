"""Commit batches to the journal: one group commit at a time, in a thread, without losing a batch whose commit failed.

Records go to the ledger first: a gap must be recorded before the trades after it are stored, or a crash between the two would
hide the gap. If the ledger does not answer within RECORDS_WAIT_S, the records go to a file, for which a commit waits as long,
and the trades are committed anyway. A gap is recorded as filled only after the trades that fill it are stored; if they were
dropped it stays open.

While the journal refuses commits, batches wait in memory up to a limit, and commits are retried. Beyond the limit the oldest
batches are dropped, each with a gap of its bounds. A batch that keeps failing is retried after the others, with a gap that is
open until the batch is stored. If the others are stored meanwhile, it is halved until the faulty trade is found, and that trade
goes to quarantine.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import gevent
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
COMMIT_ROWS = 200_000  # about the most rows of one commit: a backlog is stored in parts
SUSPECT_AFTER = 3  # equal errors in a row, not of the disk, after which batches are committed one by one
LATENCY_BINS_MS = 10_000
DROPPED = "trades dropped: the journal refused them and memory is full"
UNSTORED = "trades lost at stop: the journal did not take them"
BEHIND = "trades stored later than those that came after them: the journal did not take them at first"
UNSTORABLE = "trades that cannot be stored, see the quarantine"
PASSED_KEPT = 100_000
RECORDS_WAIT_S = 0.2  # trades wait at most this long for the records that belong before them
LOOK_S = 0.02  # polling interval of a greenlet that waits for its trades to be durable
LAST_WAIT_S = 1.5  # a stop waits at most this long for the last records


class CommitJournal(Protocol):
    """The journal as the committer uses it, in the journal's thread."""

    def pass_over(self, passed: Sequence[PassedId]) -> None:
        """Count these ids as seen, durably with the next commit."""

    def commit(self, batch: TradeBatch) -> int:
        """Make the batch durable and return its id, or store nothing and raise StorageError."""


@dataclass(slots=True)
class WaitingBatch:
    """A batch to be committed, the gaps that it completes, and ids that rows without a trade used up."""

    batch: TradeBatch
    fills: list[Gap] = field(default_factory=list)  # filled once this batch and all before it are stored
    passed: list[PassedId] = field(default_factory=list)
    compared: bool = False  # with the trades that another process has stored
    behind: bool = False  # it is retried after later batches, and gaps cover it


@dataclass(slots=True)
class Commit:
    """A commit in the journal's thread. It goes on there even if the waiting greenlet is killed."""

    waiting: list[WaitingBatch]
    outcome: AsyncResult[tuple[int, TradeBatch, int]]  # the id, the batch, and the time in ns at which it was durable


class Committer:
    """Passes batches from the pipeline to the journal's thread, and records to the recorder, with a greenlet (`run`).

    on_durable(batch_id, batch): called after each commit, in order.
    """

    def __init__(self, journal: CommitJournal, thread: ThreadPool, recorder: Recorder, catalogue: Catalogue, clock: Clock,
                 stats: Stats, memory_limit_trades: int, on_durable: Callable[[int, TradeBatch], None]) -> None:
        self._journal, self._thread, self._recorder, self._catalogue = journal, thread, recorder, catalogue
        self._clock, self._stats, self._limit, self._on_durable = clock, stats, memory_limit_trades, on_durable
        self._waiting: deque[WaitingBatch] = deque()
        self._waiting_trades = 0  # including those of the running commit
        self._taken_trades = self._lost_trades = 0  # totals; a lost trade was dropped or cannot be stored
        self._running: Commit | None = None
        self._arrived, self._stopping = recorder.arrived, Event()
        self._refused = ""
        self._error, self._errors = "", 0  # the last error that was not a StorageError, and its number in a row
        self._passed: list[PassedId] = []  # to be committed with the next batch
        self._has_fills = False  # a waiting batch completes a gap
        self._filled: list[Gap] = []  # gaps whose last trades are stored
        self._proven = False  # another batch was stored while batches are committed one by one
        self.latency_ms = np.zeros(LATENCY_BINS_MS, np.int64)  # trades by ms from received to durable; the last bin is open

    @property
    def waiting_trades(self) -> int:
        """Return the number of trades that are only in memory."""
        return self._waiting_trades

    @property
    def oldest_waiting_ns(self) -> int:
        """Return the time of receipt in ns of the oldest trade that is only in memory, 0 without one."""
        first = next(iter(self._running.waiting if self._running and self._running.waiting else self._waiting), None)
        return int(first.batch.received_at.min()) if first is not None else 0

    @property
    def holds_something(self) -> bool:
        """Return whether any trades or records are not stored yet."""
        return bool(self._waiting or self._running or self._recorder.holds_something)

    def put(self, batch: TradeBatch | None, records: Records) -> None:
        """Queue a batch, and the records that belong before it, for the next commit. Never blocks."""
        fills = [gap for gap in records.gaps if gap.state == GapState.FILLED]
        self._has_fills |= bool(fills)
        if batch is not None and len(batch):
            self._waiting.append(WaitingBatch(batch, list(fills), self._passed + records.passed))
            self._passed = []
            self._waiting_trades += len(batch)
            self._taken_trades += len(batch)
            self._drop_oldest()
            self._arrived.set()
        elif fills:
            waiting = self._waiting or (self._running.waiting if self._running else ())
            if waiting:
                waiting[-1].fills += fills
            else:
                self._recorder.record(Records(gaps=fills))
        elif records.passed:
            self._passed = (self._passed + records.passed)[-PASSED_KEPT:]
        if fills:
            records = Records([gap for gap in records.gaps if gap.state != GapState.FILLED], records.connection_events,
                              records.quarantine)
        self._recorder.record(records)

    def held(self) -> TradeBatch:
        """Return every waiting trade, in order. Call it before `run`."""
        return TradeBatch.concat([waiting.batch for waiting in self._waiting])

    def held_unfiltered(self) -> list[WaitingBatch]:
        """Return the waiting batches that were not compared yet. Call it before `run`."""
        return [waiting for waiting in self._waiting if not waiting.compared]

    def replace_held(self, compared: Sequence[tuple[WaitingBatch, TradeBatch]]) -> None:
        """Replace the trades of waiting batches, but not the ids of rows without a trade. Call it before `run`."""
        for waiting, batch in compared:
            if not any(waiting is kept for kept in self._waiting):
                continue  # dropped meanwhile, because memory was full
            self._waiting_trades += len(batch) - len(waiting.batch)
            waiting.batch, waiting.compared = batch, True
            waiting.fills.clear()  # the other process is responsible for the gaps of this time
        self._passed = [passed for waiting in self._waiting if not len(waiting.batch) for passed in waiting.passed] + self._passed
        self._waiting = deque(waiting for waiting in self._waiting if len(waiting.batch))

    def wait_durable(self, within_s: float) -> bool:
        """Wait until every trade queued so far is durable; return False if one was lost, or after `within_s`."""
        taken, lost, until = self._taken_trades, self._lost_trades, time.monotonic() + within_s
        while self._taken_trades - self._waiting_trades < taken or self._errors >= SUSPECT_AFTER:
            if time.monotonic() >= until:
                return False
            gevent.sleep(LOOK_S)
        return self._lost_trades == lost

    def run(self) -> None:
        """Commit until stopped, then commit the rest. After an error, `run` may be called again: nothing is forgotten."""
        if self.holds_something:
            self._arrived.set()
        while not self._stopping.is_set():
            self._arrived.wait(RETRY_S if self._recorder.holds_something else None)
            self._arrived.clear()
            if not self._commit():
                self._stopping.wait(RETRY_S)
            if self._waiting or self._running:
                self._arrived.set()
        self.flush()

    def stop(self) -> None:
        """Let `run` commit the rest and return."""
        self._stopping.set()
        self._arrived.set()

    def flush(self) -> bool:
        """Commit everything; return whether journal and ledger took it. Do not call it during `run`."""
        self._recorder.flush(RECORDS_WAIT_S, at_once=True)
        while self._waiting or self._running:
            if not self._commit():
                return False
        return self._recorder.flush(LAST_WAIT_S, at_once=True)

    def give_up(self) -> int:
        """Record the waiting trades as lost at the end of a run, and return their number.

        A running commit may still store some of them.
        """
        running = self._running.waiting if self._running else []
        for waiting in [*running, *self._waiting]:
            self._record_drop(waiting.batch, UNSTORED)
        return self._waiting_trades

    def rest(self) -> Records:
        """Return every record that the ledger has not taken, at the end of a run. While trades wait, no gap counts as filled."""
        if not self._waiting and not self._running:
            self._record_fills()
        return self._recorder.rest()

    def _commit(self) -> bool:
        """Commit once; return False if the journal refuses. Raises any error that is not a StorageError."""
        waiting = len(self._waiting)  # records of batches that arrive during the flush may not be kept yet
        self._recorder.flush(RECORDS_WAIT_S)
        commit = self._running or self._start_commit(waiting)
        if commit is None:
            return True
        commit.outcome.wait()  # if killed here, the next call gets the outcome: nothing is committed twice
        self._running = None
        error = commit.outcome.exception
        if error is None:
            self._committed(commit)
            return True
        if not isinstance(error, StorageError):
            return self._failed(commit, error)
        self._put_back(commit)
        if not self._refused:
            log.error("journal commit failed, trades are kept in memory reason=%s waiting=%d", error, self._waiting_trades)
        self._refused = str(error)
        self._stats.add("journal_refusals_total")
        return False

    def _start_commit(self, most: int) -> Commit | None:
        alone = self._errors >= SUSPECT_AFTER
        chosen: list[WaitingBatch] = []
        rows = 0
        while self._waiting and len(chosen) < most and (
                not chosen or (not alone and rows + len(self._waiting[0].batch) <= COMMIT_ROWS)):
            chosen.append(self._waiting.popleft())
            rows += len(chosen[-1].batch)
        if not chosen:
            return None
        commit = self._running = Commit(chosen, AsyncResult())  # set first: `spawn` may wait for the journal's thread
        try:
            commit.outcome = self._thread.spawn(self._store, [waiting.batch for waiting in chosen],
                                                [passed for waiting in chosen for passed in waiting.passed])
        except BaseException:
            self._running = None
            self._put_back(commit)
            raise
        return commit

    def _store(self, batches: list[TradeBatch], passed: list[PassedId]) -> tuple[int, TradeBatch, int]:
        """Store batches as one, in the journal's thread; return the id, the batch, and when it was durable."""
        batch = TradeBatch.concat(batches)
        if passed:
            self._journal.pass_over(passed)
        batch_id = self._journal.commit(batch)
        return batch_id, batch, self._clock.now_ns()

    def _committed(self, commit: Commit) -> None:
        result = commit.outcome.get()
        assert result is not None
        batch_id, batch, durable_ns = result
        self._recorder.end_losses(DROPPED, UNSTORABLE)
        self._filled += [gap for waiting in commit.waiting for gap in waiting.fills]
        if self._errors < SUSPECT_AFTER:  # batches come in order
            self._record_fills()
        self._waiting_trades -= len(batch)
        if self._refused:
            self._refused = ""
            log.warning("journal accepts trades again stored=%d waiting=%d", len(batch), self._waiting_trades)
        if self._errors >= SUSPECT_AFTER:
            self._proven = True
        else:
            self._errors = 0
        self._end_suspicion()
        self._measure(batch, durable_ns)
        self._on_durable(batch_id, batch)

    def _put_back(self, commit: Commit) -> None:
        self._waiting.extendleft(reversed(commit.waiting))
        self._drop_oldest()

    def _failed(self, commit: Commit, error: BaseException) -> bool:
        """Keep the failed batches and raise; once other batches were stored, search for the faulty trade instead."""
        text = f"{type(error).__name__}: {error}"
        alone = self._errors >= SUSPECT_AFTER  # the commit has one batch
        self._errors = self._errors + 1 if alone or text == self._error else 1
        self._error = text
        if not alone:
            self._put_back(commit)
            raise error
        if not self._proven:  # the next batch shows whether this batch or the journal is faulty
            self._move_behind(commit)
            raise error
        for waiting in commit.waiting:
            self._halve_or_quarantine(waiting, text)
        self._end_suspicion()
        return True

    def _move_behind(self, commit: Commit) -> None:
        """Move a batch behind the others. Record a gap for it, because a kill before it is stored would hide the loss.

        The gap begins 1 ns before the first trade, so that it differs from the gap of that trade alone if that one is faulty.
        """
        for waiting in commit.waiting:
            if not waiting.behind:
                gaps = [Gap(exchange=exchange, market_type=market_type, from_ns=from_ns - 1, to_ns=to_ns, reason=BEHIND)
                        for (exchange, market_type), (from_ns, to_ns) in self._bounds(waiting.batch).items()]
                self._recorder.record(Records(gaps=gaps))
                waiting.fills += [replace(gap, state=GapState.FILLED) for gap in gaps]
                waiting.behind = self._has_fills = True
        self._waiting.extend(commit.waiting)

    def _end_suspicion(self) -> None:
        if not self._waiting:
            self._errors, self._proven = 0, False
            self._record_fills()

    def _record_fills(self) -> None:
        """Record as filled the gaps whose trades, and all trades before them, are stored."""
        if self._filled:
            self._recorder.record(Records(gaps=self._filled))
            self._filled = []

    def _halve_or_quarantine(self, waiting: WaitingBatch, reason: str) -> None:
        batch = waiting.batch
        if len(batch) > 1:
            half = len(batch) // 2
            self._waiting.extendleft([WaitingBatch(batch.take(slice(half, None)), waiting.fills),
                                      WaitingBatch(batch.take(slice(0, half)))])
            return
        exchange, market_type = self._venue_of(int(batch.instrument[0]))
        log.error("trade quarantined, it cannot be stored venue=%s.%s reason=%s", exchange, market_type, reason)
        self._stats.add("unstorable_trades_total")
        self._waiting_trades -= 1
        self._lost_trades += 1
        at_ns = int(batch.timestamp[0])
        self._recorder.record(Records(quarantine=[Quarantined(
            self._clock.now_ns(), exchange, market_type, f"cannot be stored: {reason}",
            repr([None if column is None else column[0] for column in batch.columns()]).encode()[:KEPT_BYTES])]))
        self._recorder.record_loss(exchange, market_type, at_ns, at_ns + 1, UNSTORABLE)

    def _measure(self, batch: TradeBatch, durable_ns: int) -> None:
        ms = (durable_ns - batch.received_at) // NS_PER_MS
        counts = np.bincount(np.minimum(np.maximum(ms, 0, out=ms), LATENCY_BINS_MS - 1, out=ms))
        self.latency_ms[: len(counts)] += counts
        self._stats.add("commits_total")
        self._stats.add("durable_trades_total", len(batch))
        self._stats.set("last_commit_ns", durable_ns)

    def _drop_oldest(self) -> None:
        """Drop the oldest batches until the rest fits; keep the running commit, which may succeed, and the newest batch."""
        while self._waiting_trades > self._limit and len(self._waiting) > 1:
            batch = self._waiting.popleft().batch
            self._waiting_trades -= len(batch)
            for waiting in self._waiting if self._has_fills else ():
                waiting.fills.clear()  # the dropped trades may have been part of the fill: these gaps stay open
            self._has_fills = False
            self._stats.add("dropped_trades_total", len(batch))
            self._lost_trades += len(batch)
            self._record_drop(batch)

    def _record_drop(self, batch: TradeBatch, reason: str = DROPPED) -> None:
        """Record dropped trades as gaps with their bounds."""
        for venue, (from_ns, to_ns) in self._bounds(batch).items():
            self._recorder.record_loss(*venue, from_ns, to_ns, reason)

    def _bounds(self, batch: TradeBatch) -> dict[tuple[str, str], tuple[int, int]]:
        """Return the time range [from, to) of each venue's trades, in ns."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        order = np.argsort(batch.instrument, kind="stable")
        times, numbers = batch.timestamp[order], batch.instrument[order]
        starts = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))
        bounds = zip(numbers[starts].tolist(), np.minimum.reduceat(times, starts).tolist(),
                     np.maximum.reduceat(times, starts).tolist(), strict=True)
        for number, first_ns, last_ns in bounds:
            venue = self._venue_of(number)
            from_ns, to_ns = found.get(venue, (first_ns, 0))
            found[venue] = min(from_ns, first_ns), max(to_ns, last_ns + 1)
        return found

    def _venue_of(self, number: int) -> tuple[str, str]:
        return self._catalogue.venues[number] if 0 <= number < len(self._catalogue) else ("", "")


def percentile_ms(latency_ms: np.ndarray[tuple[int], np.dtype[np.int64]], share: float) -> int:
    """Return the ms within which `share` of the trades became durable; 0 without trades."""
    total = int(latency_ms.sum())
    return int(np.searchsorted(np.cumsum(latency_ms), share * total)) if total else 0
