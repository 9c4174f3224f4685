"""Take over from the collector that runs on the same folder, without missing a trade: `pumpwatch collect --replace`.

The new process reads every symbol and holds the trades in memory while the old one still records. Once everything is read, it
asks the old process to end, which commits its trades and unlocks the folder. Then the new process opens the journal, drops the
trades that the old one has stored, and records the rest. Before it asks, it changes nothing on disk: if it is not ready in time,
it ends, and the old process goes on. Afterwards it never gives up, because it holds trades that no other process may have.
"""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import gevent

from pumpwatch.app.parts import CollectorParts
from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.descriptors import close_now
from pumpwatch.downtime import downtime
from pumpwatch.errors import ServiceUnavailable, StorageError
from pumpwatch.feeds.rate_limits import HALF
from pumpwatch.feeds.venue import VenueFeeds
from pumpwatch.model import DISORDER_NS, TradeBatch
from pumpwatch.ops.service_manager import notify
from pumpwatch.ops.status_file import Unreadable, read_figures
from pumpwatch.records import Records
from pumpwatch.store.folder_lock import holder_of, lock_takeover
from pumpwatch.store.journal import Recovery
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.overlap import StoredOverlap
from pumpwatch.store.reader import JournalReader

log = logging.getLogger(__name__)

LOOK_S = 0.1
DELIVERS_S, DELIVERS_LAGS = 1.0, 2.0  # both processes read for at least this long, and for this many lags of the slower one
LONGEST_LAG_S = 60.0  # more means a wrong clock
ENDS_WITHIN_S = 60.0  # the old process commits and closes within seconds; after this time it hangs, and is killed
BESIDE_S = 60.0  # after the takeover a lagging connection may bring trades that the old process stored
BEFORE_NS, MINUTE_NS = 60 * NS_PER_S, 60 * NS_PER_S  # trades reported at most this late are compared together with the others
EARLY_MINUTES = 1000  # the limit of minutes of single symbols that are looked up for trades reported even later
NEVER_NS = 2**62
BUSY_PER_S = 1.0  # a venue on which the old process reads more trades must have brought one to the new process


class Takeover:
    """One takeover: `wait_until_up`, `end_other`, then `merge` once the journal is open.

    `holder` is the process id of the running collector, 0 without one. Raises StorageError during another takeover.
    """

    def __init__(self, collector: CollectorParts, within_s: float) -> None:
        self._collector, self._within_s = collector, within_s
        self._began_ns = collector.clock.now_ns()
        self._overlap: StoredOverlap | None = None
        self._compare_until = 0.0
        self._ended_alone = False  # the old process ended without being asked
        self._alone_ns = 0  # since when no other process reads
        self.holder = holder_of(collector.folder)
        self._lock = lock_takeover(collector.folder) if self.holder else -1
        if self.holder:
            collector.rate_limits.use_part(HALF)  # the old process sees the lock, and does the same

    def wait_until_up(self) -> None:
        """Return once every venue that the old process reads is read here too, or the old process has ended.

        Raises ServiceUnavailable after `within_s` seconds.
        """
        clock = self._collector.clock
        began, up_since = clock.monotonic(), 0.0
        log.info("reading beside the running collector pid=%d", self.holder)
        while holder_of(self._collector.folder) == self.holder:
            behind = self._behind()
            now = clock.monotonic()
            up_since = 0.0 if behind else up_since or now
            late_s = self._late_s()
            lag_s = max(min(self._lag_ns() / NS_PER_S, LONGEST_LAG_S), late_s)
            if up_since and now - up_since >= max(DELIVERS_S, DELIVERS_LAGS * lag_s):
                return
            if now - began > self._within_s:
                found = (f"{', '.join(behind)} did not come up" if behind else
                         f"the running collector reads {late_s:.0f} s behind this one, and both were not up for twice that")
                raise ServiceUnavailable(
                    f"not taken over: {found} within {self._within_s:.0f} s",
                    f"the collector with pid {self.holder} goes on recording; see the log above, or allow more with "
                    "--replace-within")
            gevent.sleep(LOOK_S)
        other = holder_of(self._collector.folder)
        if other:
            raise ServiceUnavailable(f"not taken over: another collector (pid {other}) was started meanwhile",
                                     "it records; run --replace again to replace it")
        self._ended_alone = True
        log.warning("the running collector has ended by itself, taking over at once pid=%d", self.holder)

    def _behind(self) -> list[str]:
        """Return the venues that the old process reads and this one does not fully read yet."""
        reads = _venues_of(self._collector.folder)
        behind = []
        for feeds in self._collector.venues:
            row = reads.get(feeds.venue.name, {})
            wanted, up = row.get("connections", 0), row.get("connections_up", 0)
            if feeds.slices.divided and not feeds.slices.numbers.issuperset(row.get("slices_read", ())):
                behind.append(feeds.venue.name)  # some slices are not taken over yet
                continue
            if feeds.reads_nothing and not wanted:
                continue  # other members of the cluster read all of it
            if wanted and not up:
                continue  # it is down for both
            busy = row.get("trades_per_s", 0) > BUSY_PER_S
            if not _is_up(feeds, up if up < wanted else None) or (
                    busy and not self._collector.stats.get("trades_total", venue=feeds.venue.name)):
                behind.append(feeds.venue.name)
        return behind

    def _late_s(self) -> float:
        """Return by how many seconds trades reach the old process later than this one, at least 0.

        The old process never reads trades still on their way at its end, so this process must have read for longer than that.
        """
        stats, late_s = self._collector.stats, 0.0
        reads = _venues_of(self._collector.folder)
        for feeds in self._collector.venues:
            name = feeds.venue.name
            old_s = reads.get(name, {}).get("lag_ms", 0.0) / 1000
            if stats.get("trades_total", venue=name):
                late_s = max(late_s, old_s - stats.get("lag_ms", venue=name) / 1000)
            else:  # the lag may be a wrong clock or a delay: assume a delay
                late_s = max(late_s, min(old_s, LONGEST_LAG_S))
        return late_s

    def _lag_ns(self) -> int:
        return int(max((abs(self._collector.stats.get("lag_ms", venue=feeds.venue.name)) for feeds in self._collector.venues),
                       default=0.0) * NS_PER_MS)

    def end_other(self) -> None:
        """Ask the old process to end, and return once it has unlocked the folder; kill it if it hangs.

        Raises StorageError, before asking, if this version cannot use the folder or may not end that process.
        """
        folder = self._collector.folder
        self._collector.memory_thread.apply(_check_readable, (folder,))
        if not self._ended_alone:
            notify(f"MAINPID={os.getpid()}")
            log.info("asking the running collector to end pid=%d", self.holder)
            self._alone_ns = self._collector.clock.now_ns()  # before the signal: this process may have to wait for the processor
            try:
                self._send(signal.SIGTERM)
            except PermissionError as error:
                notify(f"MAINPID={self.holder}")
                raise StorageError(f"{folder}: the collector with pid {self.holder} cannot be ended: {error.strerror}",
                                   "run --replace as the same user") from error
        self._collector.recorder.forget_gaps()  # until now the old process recorded the gaps
        self._alone_ns = self._alone_ns or self._collector.clock.now_ns()
        patience_s = ENDS_WITHIN_S
        asked_at = self._collector.clock.monotonic()
        while holder_of(folder) == self.holder:
            if self._collector.clock.monotonic() - asked_at > patience_s:
                log.error("the running collector does not end, killing it; its last trades are held here pid=%d", self.holder)
                self._send(signal.SIGKILL)
                patience_s += ENDS_WITHIN_S
            gevent.sleep(LOOK_S / 10)

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            if holder_of(self._collector.folder) == self.holder:
                os.kill(self.holder, number)

    def merge(self, recovery: Recovery) -> None:
        """Drop the held trades that the old process has stored, and continue its ids."""
        collector = self._collector
        held = collector.committer.held()
        stored = self._stored_beside(held)
        overlap: StoredOverlap = collector.memory_thread.apply(StoredOverlap, (stored,))
        while rest := collector.committer.held_unfiltered():
            collector.committer.replace_held([(waiting, collector.memory_thread.apply(overlap.without, (waiting.batch,)))
                                              for waiting in rest])
        self._overlap = overlap  # set without a pause after the last check: later batches are compared as they come
        self._compare_until = collector.clock.monotonic() + BESIDE_S
        collector.recorder.record(Records(gaps=collector.ingest.follow(recovery.last_ids)))
        self._record_time_between(recovery)
        self._collector.rate_limits.use_part(1.0)
        close_now(self._lock)
        log.info("took over pid=%d held_trades=%d stored_by_it=%d kept=%d", self.holder, len(held), overlap.dropped,
                 collector.committer.waiting_trades)

    def without_stored(self, batch: TradeBatch) -> TradeBatch:
        """Return the rows of a later batch that the old process has not stored."""
        if self._overlap is None:
            return batch
        if self._collector.clock.monotonic() > self._compare_until:
            self._overlap = None
            return batch
        return self._overlap.without(batch)

    def _stored_beside(self, held: TradeBatch) -> TradeBatch:
        """Return the stored trades of the time in which both processes read."""
        collector = self._collector
        from_ns = self._began_ns - BEFORE_NS - self._lag_ns()
        every = collector.catalogue.names(range(len(collector.catalogue)))
        parts = [collector.threaded_journal.query(every, from_ns, NEVER_NS)]
        early = held.take(held.timestamp < from_ns)  # a few that a venue reported late
        minutes = sorted(set(zip(early.instrument.tolist(), (early.timestamp // MINUTE_NS).tolist(), strict=True)))
        for number, minute in minutes[:EARLY_MINUTES]:
            parts.append(collector.threaded_journal.query(collector.catalogue.names([number]), minute * MINUTE_NS,
                                                          min(from_ns, (minute + 1) * MINUTE_NS)))
        return TradeBatch.concat(parts)

    def _record_time_between(self, recovery: Recovery) -> None:
        """Record gaps for the time without a reader: of connections that were down, or of all if the old process ended alone."""
        since_ns = self._alone_ns
        if self._ended_alone or not recovery.clean:
            since_ns = min(since_ns, recovery.last_received_at_ns or since_ns)
        killed = self._ended_alone or not recovery.clean
        for feeds in self._collector.venues:
            up_ns = max((feed.established_at_ns for feed in feeds.feeds if feed.symbols), default=0)
            if not feeds.slices.divided and (self._ended_alone or up_ns > since_ns):
                until_ns = max(self._alone_ns, up_ns) + DISORDER_NS + self._lag_ns()
                down = downtime(feeds.venue, since_ns, until_ns, clean=recovery.clean, beside=True)  # over those of two processes
                self._collector.recorder.record(Records(gaps=[down]))
            feeds.missed_since(since_ns, killed=killed)


def _venues_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the figures of each venue of the collector on this folder; empty without figures."""
    try:
        return {f"{row['exchange']}.{row['market_type']}": row for row in read_figures(folder)["venues"]}
    except (*Unreadable, KeyError, TypeError):
        return {}


def _is_up(feeds: VenueFeeds, enough: int | None) -> bool:
    """Return whether every connection of a venue is up, or at least `enough` of them if that is given."""
    status = feeds.status()
    if status["no_coin_listed"]:
        return True
    wanted = status["connections"] if enough is None else min(enough, status["connections"])
    return bool(feeds.has_list and wanted and status["connections_up"] >= wanted)


def _check_readable(folder: Path) -> None:
    """Raise StorageError if this version cannot read the folder."""
    Ledger(folder, read_only=True).close()
    JournalReader(folder, Catalogue()).segments()
