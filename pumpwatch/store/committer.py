"""Hands batches to the journal: one group commit at a time, in a thread, and never loses one that failed.

While the disk refuses, batches wait here in memory up to a limit and commits are tried again; beyond the limit the oldest
are dropped, and each drop is a gap record with its bounds.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import gevent
import numpy as np
from gevent.event import Event
from gevent.threadpool import ThreadPool

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_MS, Clock
from pumpwatch.errors import StorageError
from pumpwatch.model import Gap, TradeBatch
from pumpwatch.records import Records
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

RETRY_S = 1.0
LATENCY_BINS_MS = 10_000


class CommitJournal(Protocol):
    """What the committer asks of the journal, in the journal's thread."""

    def commit(self, batches: Sequence[TradeBatch], records: Records | None = None) -> int:
        """Make all of it durable and return the batch id; or raise StorageError with nothing stored."""


class Committer:
    """A greenlet (`run`) between the pipeline and the journal's thread.

    `on_durable(batch_id, batch)` is called after each commit, in order.
    """

    def __init__(self, journal: CommitJournal, thread: ThreadPool, catalogue: Catalogue, clock: Clock, stats: Stats,
                 memory_limit_trades: int, on_durable: Callable[[int, TradeBatch], None]) -> None:
        self._journal, self._thread, self._catalogue = journal, thread, catalogue
        self._clock, self._stats, self._limit, self._on_durable = clock, stats, memory_limit_trades, on_durable
        self._waiting: deque[TradeBatch] = deque()
        self._waiting_trades = 0
        self._records = Records()
        self._arrived = Event()
        self._stopping = False
        self._refused = ""
        self.latency_ms = np.zeros(LATENCY_BINS_MS, np.int64)  # frames read to durable: trades by ms, the last bin is more

    @property
    def waiting_trades(self) -> int:
        """Trades that are in memory only."""
        return self._waiting_trades

    def put(self, batch: TradeBatch | None, records: Records) -> None:
        """Take trades and records for the next commit. Never blocks."""
        if batch is not None and len(batch):
            self._waiting.append(batch)
            self._waiting_trades += len(batch)
            if self._waiting_trades > self._limit:
                self._drop_oldest()
        self._records.extend(records)
        if self._waiting or self._records:
            self._arrived.set()

    def run(self) -> None:
        """Commit until stopped; then commit what is left, once."""
        while not self._stopping:
            self._arrived.wait()
            self._arrived.clear()
            if not self._commit():
                gevent.sleep(RETRY_S)
                self._arrived.set()
        if self._waiting or self._records:
            self._commit()

    def stop(self) -> None:
        """End `run` after one last commit."""
        self._stopping = True
        self._arrived.set()

    def _commit(self) -> bool:
        if not self._waiting and not self._records:
            return True
        batches, records = list(self._waiting), self._records
        batch = TradeBatch.concat(batches)
        self._records = Records()
        try:
            batch_id = self._thread.apply(self._journal.commit, ([batch] if len(batch) else [], records))
        except StorageError as error:
            records.extend(self._records)
            self._records = records
            if not self._refused:
                log.error("journal refuses, trades are kept in memory reason=%s waiting=%d", error, self._waiting_trades)
            self._refused = str(error)
            self._stats.add("journal_refusals_total")
            return False
        if self._refused:
            self._refused = ""
            log.warning("journal takes trades again caught_up=%d", len(batch))
        self._take_off(batches)
        if len(batch):
            self._note_latency(batch)
            self._on_durable(batch_id, batch)
        return True

    def _take_off(self, committed: list[TradeBatch]) -> None:
        """Forget what is durable; what was dropped or added meanwhile is not mixed up with it."""
        done = set(map(id, committed))
        while self._waiting and id(self._waiting[0]) in done:
            self._waiting_trades -= len(self._waiting.popleft())

    def _note_latency(self, batch: TradeBatch) -> None:
        ms = (self._clock.now_ns() - batch.received_at) // NS_PER_MS
        counts = np.bincount(np.clip(ms, 0, LATENCY_BINS_MS - 1))
        self.latency_ms[: len(counts)] += counts
        self._stats.add("commits_total")
        self._stats.add("durable_trades_total", len(batch))
        self._stats.set("last_commit_ns", self._clock.now_ns())

    def _drop_oldest(self) -> None:
        while self._waiting_trades > self._limit and len(self._waiting) > 1:
            batch = self._waiting.popleft()
            self._waiting_trades -= len(batch)
            self._stats.add("dropped_trades_total", len(batch))
            self._records.gaps += self._gaps_of(batch)

    def _gaps_of(self, batch: TradeBatch) -> list[Gap]:
        """Name what is dropped: one gap a venue, with the bounds of its trades."""
        gaps = []
        venues = np.array([f"{exchange}\0{market}" for exchange, market in self._catalogue.venues])[batch.instrument]
        for venue in np.unique(venues):
            times = batch.timestamp[venues == venue]
            exchange, market_type = str(venue).split("\0")
            gaps.append(Gap(exchange=exchange, market_type=market_type, symbol="", from_ns=int(times.min()),
                            to_ns=int(times.max()) + 1, first_id=None, last_id=None,
                            reason=f"{len(times)} trades dropped: the journal refused them and memory is full"))
        return gaps


def percentile_ms(latency_ms: np.ndarray[tuple[int], np.dtype[np.int64]], share: float) -> int:
    """Return the ms within which `share` of the trades became durable; 0 without trades."""
    total = int(latency_ms.sum())
    return int(np.searchsorted(np.cumsum(latency_ms), share * total)) if total else 0
