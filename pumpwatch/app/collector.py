"""The running collector: made of every stage, started from the store towards the sockets, stopped the other way.

The order matters: whatever was read is durable at the end.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import gevent
from gevent.event import Event
from gevent.threadpool import ThreadPool

from pumpwatch.app.jobs import Jobs
from pumpwatch.app.listings import Listings
from pumpwatch.app.status import Status
from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import Config, VenueConfig
from pumpwatch.errors import EXIT_DISK, EXIT_OK, ConfigError, StorageError
from pumpwatch.feeds.feed import DISORDER_NS
from pumpwatch.feeds.rate_limits import VenueRateLimits
from pumpwatch.feeds.venue import VenueFeeds
from pumpwatch.instruments.symbols_file import SymbolsFile
from pumpwatch.model import Gap, TradeBatch, Venue
from pumpwatch.net.http import Http
from pumpwatch.net.sweep import Sweep
from pumpwatch.net.ws import Dialer, tls_context
from pumpwatch.ops.status_file import Unreadable, read_figures
from pumpwatch.pipeline.ingest import Ingest
from pumpwatch.plugins import Plugins, load_plugins
from pumpwatch.records import Quarantined, Records
from pumpwatch.stats import Stats
from pumpwatch.store.committer import Committer
from pumpwatch.store.drain import Drain
from pumpwatch.store.journal import Journal, Recovery
from pumpwatch.store.recent import Recent
from pumpwatch.supervisor import Supervisor

log = logging.getLogger(__name__)

T = TypeVar("T")

STOP_S = 2.5  # of the stages, from the signal on
CLOSE_S = 2.0  # and so long for the journal, then for its last records where it hangs, then for the last figures
LEDGER_ANSWER_S = 2.0  # a listing waits so long for it, then its window is opened all the same


class Collector:
    """One running collector. Make it, `start`, `wait`, `stop`."""

    def __init__(self, config: Config, plugins: Plugins | None = None) -> None:
        self.config = config
        self.plugins = plugins or load_plugins(config)
        self.chosen = self.plugins.fit(config)
        self.sinks = self.plugins.make_sinks(config)
        self.clock, self.stats, self.catalogue = Clock(), Stats(), Catalogue()
        self.started_at_ns = self.clock.now_ns()
        self.supervisor = Supervisor(self.stats)
        self.folder = Path(config.store.dir)
        net, store = config.net, config.store
        context = tls_context(net.ca_file)
        self.http = Http(context, net.connect_timeout_s, net.proxy)
        self.dialer = Dialer(context, net.connect_timeout_s, net.proxy)
        self.paces = VenueRateLimits(self.clock)
        self.journal_thread, self.ledger_thread, self.memory_thread = ThreadPool(1), ThreadPool(1), ThreadPool(1)
        self.journal = Journal(self.folder, self.catalogue, self.clock, self.stats, quarantine_bytes=store.quarantine_bytes)
        self.recent = Recent(store.recent_minutes)
        self.committer = Committer(self.journal, self.journal_thread, self.catalogue, self.clock, self.stats,
                                   store.memory_limit_trades, self._durable)
        self.ingest = Ingest(self.catalogue, self.clock, self.stats, store.commit_ms, store.commit_trades, self.committer.put)
        self.sweep = Sweep(self.clock, self.stats, net.sweep_ms / 1000, net.window_sweep_ms / 1000, net.max_pending_bytes,
                           self.ingest.hurry)
        self.drains: dict[str, Drain] = {}
        self.venues: list[VenueFeeds] = []
        self.symbols = SymbolsFile(config.symbols_file)
        self.figures = Status(self)
        self.jobs = Jobs(self)
        self.listings: Listings | None = None  # made by `start`, once the ledger is open
        self.ended = Event()
        self.refusal: ConfigError | None = None  # of a sink, which is opened when all the rest runs

    def start(self) -> None:
        """Open the journal, take up where the last run ended, and start reading.

        Raises StorageError when the folder cannot be used. Sinks are opened by their drains while reading begins: a server
        that hangs must cost no trade, and one that is only away is no reason not to start. Where a sink's first open shows
        that only a person can mend it, `refusal` says so and `ended` is set; what was read until then is durable.
        """
        log.info("collecting venues=%s store=%s sinks=%s", ",".join(venue.name for venue, _ in self.chosen), self.folder,
                 ",".join(self.sinks) or "none")
        recovery: Recovery = self.journal_thread.apply(self.journal.open)
        self.ingest.take_up(recovery.last_ids)  # so that a jump over the downtime shows
        self.recent.came_before(max((at_ns for _, at_ns in recovery.last_ids.values()), default=0))
        if recovery.last_received_at_ns:
            log.info("going on after a run that %s, last trade %.0f s ago; what was missed since is a gap",
                     "was stopped" if recovery.clean else "was killed",
                     (self.clock.now_ns() - recovery.last_received_at_ns) / NS_PER_S)
        ended_ns = _ended_ns(self.folder, self.started_at_ns)
        for venue, part in self.chosen:
            self._add_venue(venue, part, recovery, ended_ns)
        for name, sink in self.sinks.items():
            self.drains[name] = Drain(name, sink, self.journal, self.in_journal_thread, self.catalogue, self.stats,
                                      self.clock, self._quarantine_row, self.config.drain)
        self.supervisor.spawn("committer", self.committer.run)
        self.supervisor.spawn("ingest", self.ingest.run)
        self.supervisor.spawn("sweep", self.sweep.run)
        for feeds in self.venues:
            self.supervisor.spawn(f"venue {feeds.venue.name}", feeds.run)
            self.supervisor.spawn(f"silence {feeds.venue.name}", feeds.silence.run)
        for name, drain in self.drains.items():
            self.supervisor.spawn(f"drain {name}", partial(self._run_drain, drain))
        self.listings = Listings(self)
        self.jobs.start()
        self.listings.start()

    def stop(self) -> int:
        """Read what is there, commit it, and close everything; what a sink lacks stays in the journal.

        Returns the exit code: EXIT_DISK where the journal did not take all of it.
        """
        deadline = self.clock.monotonic() + STOP_S
        self.jobs.stop()
        if self.listings:
            self.listings.stop()
        self.sweep.stop()
        self.supervisor.stop("sweep", 0.3)
        self.sweep.once()
        for feeds in self.venues:
            feeds.stop()
        self.ingest.stop()
        self.supervisor.stop("ingest", 0.3)
        self.ingest.finish(0.5)
        self.committer.stop()
        self.supervisor.stop("committer", max(0.5, deadline - self.clock.monotonic()))
        for name, drain in self.drains.items():
            drain.stop(max(0.2, deadline - self.clock.monotonic()))
            self.supervisor.stop(f"drain {name}", 0.1)
        self.ingest.turn()  # what a sink refused at the end is acknowledged, so its quarantine record must be stored
        self.supervisor.spawn("last commit", self._commit_rest)
        self.supervisor.stop("last commit", max(0.5, deadline - self.clock.monotonic()))
        self.supervisor.stop_all(0.2)
        code = self._close_journal()
        self._write_last_figures()
        log.info("stopped, trades stored in this run=%d%s", self.stats.get("durable_trades_total"),
                 "".join(f" {name} lacks={drain.lag_rows}, kept in the journal" for name, drain in self.drains.items()
                         if drain.lag_rows))
        return code

    def _write_last_figures(self) -> None:
        try:
            with gevent.Timeout(CLOSE_S):
                self.figures.write(ended=True)
        except gevent.Timeout:
            log.warning("the last figures were not written reason=no answer in %.0f s", CLOSE_S)

    def _commit_rest(self) -> None:
        self.committer.flush()

    def _close_journal(self) -> int:
        code = EXIT_OK
        if self.committer.waiting_trades:
            log.error("lost at stop, the journal did not take it trades=%d", self.committer.waiting_trades)
            code = EXIT_DISK
        rest = self.committer.rest()
        try:
            within(CLOSE_S, self.journal_thread, self.journal.close, rest)
        except StorageError as error:
            log.error("the journal was not closed cleanly reason=%s", error)
            code = EXIT_DISK
        except gevent.Timeout:
            log.error("the journal was not closed, it is left to the next start reason=no answer in %.0f s", CLOSE_S)
            code = EXIT_DISK
            self._leave(rest)
        return code

    def _leave(self, rest: Records) -> None:
        """Keep the last records where the journal's thread hangs."""
        try:
            within(CLOSE_S, ThreadPool(1), self.journal.leave, rest)
        except (StorageError, gevent.Timeout) as error:
            log.error("lost at stop, the last records are in no file gaps=%d refused_frames=%d reason=%s", len(rest.gaps),
                      len(rest.quarantine), error)

    def wait(self) -> None:
        """Return after SIGTERM, SIGINT or `ended.set()`. Raises the ConfigError of a sink that cannot be used as it is."""
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self.ended.set)
        self.ended.wait()
        if self.refusal is not None:
            raise self.refusal

    def in_journal_thread(self, function: Callable[..., T], /, *args: Any) -> T:
        """Run a call of the journal in its thread and wait for it in this greenlet."""
        result: T = self.journal_thread.apply(function, args)
        return result

    def in_ledger_thread(self, function: Callable[..., T], /, *args: Any) -> T:
        """Run a call of the ledger in its thread and wait for it in this greenlet; a ledger that hangs delays no trade."""
        result: T = self.ledger_thread.apply(function, args)
        return result

    def ask_ledger(self, function: Callable[..., T], /, *args: Any) -> T:
        """Run a short call of the ledger as `in_ledger_thread` does. Raises StorageError where it does not answer in time."""
        with gevent.Timeout(LEDGER_ANSWER_S, StorageError("the ledger does not answer")):
            return self.in_ledger_thread(function, *args)

    def journal_query(self, names: Sequence[tuple[str, str, str]], start_ns: int, end_ns: int) -> TradeBatch:
        """Ask the journal, in its thread."""
        return self.in_journal_thread(self.journal.query, names, start_ns, end_ns)

    def _add_venue(self, venue: Venue, config: VenueConfig, recovery: Recovery, ended_ns: int) -> None:
        down_since_ns, down = _down_since_ns(venue, recovery) or ended_ns, None
        if down_since_ns:
            down = Gap(exchange=venue.exchange, market_type=venue.market_type, from_ns=down_since_ns - DISORDER_NS,
                       to_ns=max(down_since_ns, self.clock.now_ns()), reason="not running" if recovery.clean else "not running, after it was killed")
            self.ingest.record(Records(gaps=[down]))
        self.venues.append(VenueFeeds(
            venue, config, self.catalogue, self.ingest.add_venue(venue, down), self.http, self.dialer, self.sweep, self.clock,
            self.stats, self.config.net.max_frame_bytes, self.config.roster_refresh_s, down_since_ns, self.ingest.record,
            self.supervisor.spawn, self.ingest.dedupe.last_times, self.symbols, self.paces))

    def _run_drain(self, drain: Drain) -> None:
        try:
            drain.run()
        except ConfigError as error:
            self.refusal = error
            self.ended.set()

    def _quarantine_row(self, exchange: str, market_type: str, reason: str, payload: bytes) -> None:
        self.ingest.record(Records(quarantine=[
            Quarantined(self.clock.now_ns(), exchange, market_type, reason, payload)]))

    def _durable(self, batch_id: int, batch: TradeBatch) -> None:
        self.recent.add(batch)
        for drain in self.drains.values():
            drain.offer(batch_id, batch)


def within(seconds: float, thread: ThreadPool, function: Callable[..., T], /, *args: Any) -> T:
    """Run a call in a thread and wait for it so long, in this greenlet. Raises gevent.Timeout; the call may go on."""
    with gevent.Timeout(seconds):
        result: T = thread.apply(function, args)
        return result


def _down_since_ns(venue: Venue, recovery: Recovery) -> int:
    """Return from when on a venue's trades may be missing, 0 where nothing is stored.

    That is its own newest trade where the others went on without it: it was down when the last run ended.
    """
    own = [at_ns for (exchange, market_type, _), (_, at_ns) in recovery.last_ids.items()
           if (exchange, market_type) == (venue.exchange, venue.market_type)]
    return min(recovery.last_received_at_ns, max(own, default=recovery.last_received_at_ns))


def _ended_ns(folder: Path, now_ns: int) -> int:
    """Return when an earlier run on this folder last wrote its figures, 0 where there was none: it may have stored nothing."""
    try:
        written_ns = int(read_figures(folder)["written_at_ns"])
    except Unreadable:
        return 0
    return min(written_ns, now_ns)


def collect(config: Config) -> int:
    """Run a collector until it is told to stop; everything received is then durable. Returns the exit code.

    Raises ConfigError, after the same orderly end, when a sink turns out to be one that only a person can mend.
    """
    collector = Collector(config)
    collector.start()
    code = EXIT_OK
    try:
        collector.wait()
    finally:
        code = collector.stop()
    return code
