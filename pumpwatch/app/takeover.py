"""Take over from the collector that runs on the same folder, without missing a trade: `pumpwatch collect --replace`.

The new process reads every symbol and holds the trades in memory while the old one still records. Once all of it is up, it
asks the old process to end, which commits what it has and unlocks the folder. Then the new one opens the journal, drops the
trades that the old one has stored, and records the rest. Until it asks, it changes nothing on disk: if it does not come up in
time it ends, and the old process goes on.
"""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import gevent
import numpy as np

from pumpwatch.app.parts import CollectorParts
from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import ServiceUnavailable, StorageError
from pumpwatch.feeds.venue import VenueFeeds
from pumpwatch.model import DISORDER_NS, Gap, TradeBatch
from pumpwatch.ops.service_manager import notify
from pumpwatch.ops.status_file import Unreadable, read_figures
from pumpwatch.records import Records
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.overlap import StoredOverlap
from pumpwatch.store.reader import JournalReader
from pumpwatch.store.recovery import Recovery, holder_of

log = logging.getLogger(__name__)

LOOK_S = 0.1
DELIVERS_S = 1.0  # the new connections are read beside the old ones for at least so long
ENDS_WITHIN_S = 60.0  # the old process commits and closes within seconds; a slow disk may need more
BESIDE_S = 60.0  # after the takeover a lagging connection may bring trades that the old process stored
BEFORE_NS = 60 * NS_PER_S  # trades reported that late are compared together with the others
NEVER_NS = 2**62
BUSY_PER_S = 1.0  # a venue on which the old process reads more trades must have brought one to the new process


class Takeover:
    """One takeover: `wait_until_up`, `end_other`, then `merge` once the journal is open."""

    def __init__(self, collector: CollectorParts, within_s: float) -> None:
        self._collector, self._within_s = collector, within_s
        self._began_ns = collector.clock.now_ns()
        self._overlap: StoredOverlap | None = None
        self._compare_until = 0.0
        self.holder = holder_of(collector.folder)

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
            if up_since and now - up_since >= DELIVERS_S:
                return
            if now - began > self._within_s:
                raise ServiceUnavailable(
                    f"not taken over: {', '.join(behind) or 'the connections'} did not come up within {self._within_s:.0f} s",
                    f"the collector with pid {self.holder} goes on recording; see the log above, or allow more with "
                    "--replace-within")
            gevent.sleep(LOOK_S)
        other = holder_of(self._collector.folder)
        if other:
            raise ServiceUnavailable(f"not taken over: another process (pid {other}) has, or was started meanwhile",
                                     "that one records; nothing else is to be done")
        log.warning("the running collector has ended by itself, taking over at once pid=%d", self.holder)

    def _behind(self) -> list[str]:
        """Return the venues that the old process reads and this one does not yet."""
        reads = _venues_of(self._collector.folder)
        behind = []
        for feeds in self._collector.venues:
            row = reads.get(feeds.venue.name, {})
            if row.get("connections") and not row.get("connections_up"):
                continue  # it is down for both
            busy = row.get("trades_per_s", 0) > BUSY_PER_S
            if not _is_up(feeds) or (busy and not self._collector.stats.get("trades_total", venue=feeds.venue.name)):
                behind.append(feeds.venue.name)
        return behind

    def end_other(self) -> None:
        """Ask the old process to end, and wait until it has unlocked the folder.

        Raises StorageError where this version cannot use the folder, or the old process does not end; it then goes on.
        """
        folder = self._collector.folder
        self._collector.memory_thread.apply(_check_readable, (folder,))
        notify(f"MAINPID={os.getpid()}")
        with suppress(ProcessLookupError):
            if holder_of(folder) == self.holder:
                log.info("asking the running collector to end pid=%d", self.holder)
                try:
                    os.kill(self.holder, signal.SIGTERM)
                except PermissionError as error:
                    notify(f"MAINPID={self.holder}")
                    raise StorageError(f"{folder}: the collector with pid {self.holder} cannot be ended: {error.strerror}",
                                       "run --replace as the same user") from error
        clock = self._collector.clock
        end = clock.monotonic() + ENDS_WITHIN_S
        while holder_of(folder):
            if clock.monotonic() > end:
                notify(f"MAINPID={self.holder}")
                raise StorageError(f"{folder}: the collector with pid {self.holder} does not end", "end it, then start this one")
            gevent.sleep(LOOK_S / 10)

    def merge(self, recovery: Recovery) -> None:
        """Drop the trades that the old process stored from those held here, and continue its ids."""
        collector = self._collector
        collector.recorder.forget_gaps()
        held = collector.committer.held()
        stored = self._stored_beside(held)
        self._overlap = StoredOverlap(stored)
        collector.committer.filter_held(self._overlap.without)
        collector.recorder.record(Records(gaps=collector.ingest.dedupe.follow(recovery.last_ids)))
        self._compare_until = collector.clock.monotonic() + BESIDE_S
        self._record_time_between(recovery)
        log.info("took over pid=%d held_trades=%d stored_by_it=%d kept=%d", self.holder, len(held), self._overlap.dropped,
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
        """Return what the store has of the time in which both processes read."""
        collector = self._collector
        slack_ns = BEFORE_NS + int(1e6 * max((abs(collector.stats.get("lag_ms", venue=feeds.venue.name))
                                              for feeds in collector.venues), default=0.0))
        from_ns = self._began_ns - slack_ns
        every = collector.catalogue.names(range(len(collector.catalogue)))
        parts = [collector.threaded_journal.query(every, from_ns, NEVER_NS)]
        early = held.take(held.timestamp < from_ns)  # a few that a venue reported late
        if len(early):
            names = collector.catalogue.names(np.unique(early.instrument).tolist())
            parts.append(collector.threaded_journal.query(names, int(early.timestamp.min()), from_ns))
        return TradeBatch.concat(parts)

    def _record_time_between(self, recovery: Recovery) -> None:
        """Record a gap where the old process ended before this one read: only after a crash of it."""
        collector = self._collector
        if recovery.clean:
            return
        for feeds in collector.venues:
            up_ns = max((feed.established_at_ns for feed in feeds.feeds if feed.symbols), default=0) or self._began_ns
            if up_ns > recovery.last_received_at_ns > 0:
                collector.recorder.record(Records(gaps=[Gap(
                    exchange=feeds.venue.exchange, market_type=feeds.venue.market_type,
                    from_ns=recovery.last_received_at_ns - DISORDER_NS, to_ns=up_ns + DISORDER_NS,
                    reason="not running, after it was killed")]))


def _venues_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the figures of each venue that the collector on this folder reads, none where it has written none."""
    try:
        return {f"{row['exchange']}.{row['market_type']}": row for row in read_figures(folder)["venues"]}
    except (*Unreadable, KeyError, TypeError):
        return {}


def _is_up(feeds: VenueFeeds) -> bool:
    status = feeds.status()
    if status["no_coin_listed"]:
        return True
    return bool(feeds.has_list and status["connections"] and status["connections_up"] == status["connections"])


def _check_readable(folder: Path) -> None:
    """Raise StorageError where this version cannot read the folder: before the old process is asked to end."""
    Ledger(folder, read_only=True).close()
    JournalReader(folder, Catalogue()).segments()
