"""A running collector: it starts every stage from the store to the sockets, and stops them in the opposite order.

This order makes everything that was read durable at the end.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event
from gevent.threadpool import ThreadPool

from pumpwatch.app.alerting import Alerting
from pumpwatch.app.backfilling import make_backfill
from pumpwatch.app.closing import close_journal, write_last_figures
from pumpwatch.app.jobs import CollectorJobs
from pumpwatch.app.listings import ListingStage
from pumpwatch.app.market import MarketProcess
from pumpwatch.app.notifying import Notifying
from pumpwatch.app.parts import Notifies, ReportsStores
from pumpwatch.app.reloading import Reloading
from pumpwatch.app.run_before import down_since_ns, ended_ns, gap_since
from pumpwatch.app.serving import Serving
from pumpwatch.app.shared_limits import be_absent, be_present, shared_limits
from pumpwatch.app.sink_rollout import SinkRollout
from pumpwatch.app.status import Status
from pumpwatch.app.store_watch import StoreWatch
from pumpwatch.app.takeover import Takeover
from pumpwatch.backfill.backfill import Backfill
from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import Config, VenueConfig
from pumpwatch.errors import ConfigError, ServiceUnavailable, StorageError
from pumpwatch.feeds.rate_limits import VenueRateLimits
from pumpwatch.feeds.venue import Network, Process, VenueFeeds
from pumpwatch.instruments.symbols_file import SymbolsFile
from pumpwatch.model import Gap, TradeBatch
from pumpwatch.net.http import Http
from pumpwatch.net.sweep import Sweep
from pumpwatch.net.ws import Dialer, tls_context
from pumpwatch.notify.notifier import MakeEvent
from pumpwatch.ops.cold_tier import cold_tiers
from pumpwatch.ops.disk_watch import DiskWatch
from pumpwatch.ops.memory_watch import MemoryWatch, give_back
from pumpwatch.ops.service_manager import keep_alive
from pumpwatch.pipeline.ingest import Ingest
from pumpwatch.plugins import Plugins, load_plugins
from pumpwatch.records import Records
from pumpwatch.redis.connection import connection_of
from pumpwatch.stats import Stats
from pumpwatch.store.committer import Committer
from pumpwatch.store.drain import Drain
from pumpwatch.store.folder_lock import refuse_taken
from pumpwatch.store.in_thread import in_thread
from pumpwatch.store.journal import Journal, Recovery
from pumpwatch.store.lasting import LastingLedger
from pumpwatch.store.query_figures import QueryFigures
from pumpwatch.store.recent import Recent
from pumpwatch.store.recorder import Recorder
from pumpwatch.store.sink_calls import SinkCalls
from pumpwatch.store.sink_threads import off_hub
from pumpwatch.supervisor import Supervisor
from pumpwatch.venue import Venue

if TYPE_CHECKING:
    from pumpwatch.app.cluster import ClusterMember

log = logging.getLogger(__name__)

STOP_S = 2.5  # the limit for the stages to stop, from the signal on


class Collector:
    """One running collector: create it, `start` it, `wait` for its end, and `stop` it."""

    def __init__(self, config: Config, plugins: Plugins | None = None) -> None:
        self.config = config
        self.plugins = plugins or load_plugins(config)
        self.chosen = self.plugins.fit(config)
        own_sinks = self.plugins.make_sinks(config)
        self.sink_calls = {name: SinkCalls() for name in own_sinks}
        self.sinks = {name: off_hub(sink, self.sink_calls[name]) for name, sink in own_sinks.items()}
        self.clock, self.stats, self.catalogue = Clock(), Stats(), Catalogue()
        self.started_at_ns = self.clock.now_ns()
        self.redis = connection_of(config.redis, self.stats)
        self.supervisor = Supervisor(self.stats)
        self.folder = Path(config.store.dir)
        net, store = config.net, config.store
        context = tls_context(net.ca_file)
        self.http = Http(context, net.connect_timeout_s, net.proxy)
        self.dialer = Dialer(context, net.connect_timeout_s, net.proxy)
        self.shared = shared_limits(self.redis, config.cluster, self.stats)
        self.rate_limits = VenueRateLimits(self.clock, self.shared.budgets if self.shared else None)
        self.journal_thread, self.ledger_thread, self.memory_thread = ThreadPool(1), ThreadPool(1), ThreadPool(1)
        self.journal = Journal(self.folder, self.catalogue, self.clock, self.stats, quarantine_bytes=store.quarantine_bytes)
        self.threaded_journal = in_thread(self.journal, self.journal_thread)
        self.recent = Recent(store.recent_minutes)
        self.queries = QueryFigures(config.log.slow_query_ms)
        self.disk = DiskWatch(config.disk, self.clock, self.folder, Path(config.listing.archive_dir))
        self.cold_tiers = cold_tiers(own_sinks, config.disk, self.clock)
        self.memory = MemoryWatch(config.memory, self.recent, trim=partial(self.memory_thread.apply, give_back))
        self.recorder = Recorder(self.journal.record, self.stats, self.journal.keep)
        self.committer = Committer(self.journal, self.journal_thread, self.recorder, self.catalogue, self.clock, self.stats,
                                   store.memory_limit_trades, self._durable)
        self.ingest = Ingest(self.catalogue, self.clock, self.stats, store.commit_ms, store.commit_trades, self._put)
        self.sweep = Sweep(self.clock, self.stats, net.sweep_ms / 1000, net.window_sweep_ms / 1000, net.max_pending_bytes,
                           self.ingest.wake, sparse_s=net.sparse_sweep_ms / 1000)
        self.drains: dict[str, Drain] = {}
        self.stores: ReportsStores = StoreWatch(self)
        self.venues: list[VenueFeeds] = []
        self.symbols = SymbolsFile(config.symbols_file, writes=config.writes_symbols)
        self.status = Status(self)
        self.rollout = SinkRollout(self)
        self.market = MarketProcess(self)
        self.jobs = CollectorJobs(self, self.status)
        self.alerting = Alerting(self, self.status)
        self.serving = Serving(self, self.status, self.jobs)
        self.listings: ListingStage | None = None  # created by `start`, once the ledger is open
        self.notifying: Notifies = Notifying(self)
        self.cluster = _make_cluster(self)
        self._takeover: Takeover | None = None
        self.backfill: Backfill | None = None  # created by `start`
        self.ended = Event()
        self.sink_error: ConfigError | None = None  # of a sink that a person must repair

    @property
    def threaded_ledger(self) -> LastingLedger:
        """The open ledger, with methods that run in its own thread: a ledger that hangs does not delay trades."""
        return in_thread(self.journal.ledger, self.ledger_thread)

    def cluster_status(self) -> dict[str, Any]:
        """Return the figures of the cluster; empty for a collector that runs alone."""
        return self.cluster.status() if self.cluster else {}

    def backup_status(self) -> dict[str, Any]:
        """Return the results of the last backups, and the time of the next."""
        return self.jobs.backup.figures()

    def rollout_status(self) -> dict[str, Any]:
        """Return the state of the roll-out of a sink; empty without one."""
        return self.rollout.status()

    def roll_out(self, action: str, reason: str) -> dict[str, Any]:
        """Act on the roll-out; return its state. Raises UsageError without a roll-out, or for an action out of order."""
        self.rollout.act(action, reason)
        return self.rollout.status()

    def listing_status(self) -> dict[str, Any]:
        """Return the state of the notice boards and windows; empty before the start."""
        return self.listings.status() if self.listings else {}

    def job_rows(self) -> list[dict[str, Any]]:
        """Return a row for each scheduled job; none before the start."""
        return [*self.jobs.rows(), *self.market.rows()]

    def market_status(self) -> dict[str, Any]:
        """Return the state of the process that makes market data, and the figures of the caches."""
        return {**self.market.status(), "caches": self.serving.cache_figures()}

    def alert_rows(self) -> list[dict[str, Any]]:
        """Return the active alerts."""
        return self.alerting.rows()

    def alert_events(self, since_ns: int) -> list[MakeEvent]:
        """Return the events of the alerts that began or ended since a time (ns UTC), sent or not."""
        return self.alerting.events(since_ns)

    def start(self) -> None:
        """Open the journal, continue from the end of the last run, and start reading.

        Raises StorageError if the folder cannot be used. The drains open the sinks while reading begins, so a server that hangs
        does not cost trades, and a server that is away does not prevent the start. If opening a sink shows that a person must
        repair it, `sink_error` and `ended` are set; everything read until then is durable.
        """
        self._log_start()
        if self.cluster:
            refuse_taken(self.folder)  # before other members make room for one that cannot start
            self.cluster.join()
        with self._leaves_cluster_on_failure():
            recovery = self.threaded_journal.open()
        self.ingest.continue_after(recovery.last_ids)  # so that a jump of ids over the downtime is noticed
        if recovery.last_received_at_ns:
            log.info("resuming after a run that %s, the time since its last trade is a gap last_trade_s=%.0f",
                     "was stopped" if recovery.clean else "was killed",
                     (self.clock.now_ns() - recovery.last_received_at_ns) / NS_PER_S)
        ended_at_ns = ended_ns(self.folder, self.started_at_ns)
        for venue, part in self.chosen:
            self._add_venue(venue, part, recovery, ended_at_ns)
        self._start_reading()
        self._start_storing(recovery)
        self.supervisor.spawn("watchdog", keep_alive)

    @contextmanager
    def _leaves_cluster_on_failure(self) -> Iterator[None]:
        """Leave the cluster if the block fails: the collector that runs on this folder stays its member."""
        try:
            yield
        except (StorageError, ServiceUnavailable):
            if self.cluster:
                self.cluster.stop()
            raise

    def replace(self, within_s: float) -> None:
        """Start beside the collector that runs on the same folder, and take over from it once everything is read here too.

        Without such a collector this is `start`. Raises ServiceUnavailable or StorageError if the other collector stays.
        """
        takeover = Takeover(self, within_s)
        if not takeover.holder:
            log.info("nothing to replace, no collector runs on this folder store=%s", self.folder)
            self.start()
            return
        self._log_start()
        if self.cluster:
            self.cluster.join()
        self._takeover = takeover
        for venue, part in self.chosen:
            self._add_feeds(venue, part, None, 0)
        self._start_reading()
        with self._leaves_cluster_on_failure():
            takeover.wait_until_up()
            self._catch_signals()  # from now on this process may hold trades that no other one has
            self.supervisor.spawn("watchdog", keep_alive)  # this is the service now, and a large journal opens slowly
            takeover.end_other()
        recovery = self.threaded_journal.open()
        takeover.merge(recovery)
        self._start_storing(recovery)
        self.status.write()  # from now on the commands find this process

    def _log_start(self) -> None:
        self.serving.keep_warnings()
        log.info("collecting venues=%s store=%s sinks=%s", ",".join(venue.name for venue, _ in self.chosen), self.folder,
                 ",".join(self.sinks) or "none")

    def _put(self, batch: TradeBatch | None, records: Records) -> None:
        if self._takeover is not None and batch is not None:
            batch = self._takeover.without_stored(batch)
        self.committer.put(batch, records)

    def _start_reading(self) -> None:
        be_present(self.shared, self.supervisor)
        self.supervisor.spawn("ingest", self.ingest.run)
        self.supervisor.spawn("sweep", self.sweep.run)
        for feeds in self.venues:
            self.supervisor.spawn(f"venue {feeds.venue.name}", feeds.run)
            self.supervisor.spawn(f"silence {feeds.venue.name}", feeds.silence.run)
        if self.cluster:
            self.cluster.start()

    def _start_storing(self, recovery: Recovery) -> None:
        self.recent.set_earlier_end(max((at_ns for _, at_ns in recovery.last_ids.values()), default=0))
        self.rollout.load()
        for name, sink in self.sinks.items():
            self.drains[name] = Drain(name, sink, self.threaded_journal, self.catalogue, self.stats, self.clock,
                                      self.recorder.record, self.config.drain, share=self.rollout.share_of(name),
                                      shared=self.cluster is not None)
        self.supervisor.spawn("committer", self.committer.run)
        for name, drain in self.drains.items():
            self.supervisor.spawn(f"drain {name}", partial(self._run_drain, drain))
        self.alerting.load()
        self.notifying.start()
        self.listings = ListingStage(self)
        self.backfill = make_backfill(self, self.listings.windows.coins)
        self.supervisor.spawn("backfill", self.backfill.run)
        for name, body in self.backfill.workers():
            self.supervisor.spawn(name, body)
        self.jobs.start()
        self.alerting.start(self.jobs)
        self.rollout.start(self.jobs.every)
        self.listings.start(self.jobs.scheduler)
        self.serving.start()
        self.market.start()

    def stop(self) -> int:
        """Read the frames that have arrived, commit them, and close everything; trades missing in a sink stay in the journal.

        A member of a cluster first hands its shards over, while it reads. Returns the exit code: EXIT_DISK if the journal did
        not take everything.
        """
        if self.cluster:
            self.cluster.leave()
        deadline = self.clock.monotonic() + STOP_S
        be_absent(self.shared)
        self.serving.stop()
        self.market.stop()
        self.jobs.stop()
        self.rollout.stop()
        if self.backfill:
            self.backfill.stop()
        if self.listings:
            self.listings.stop()
        self.notifying.notifier.stop()
        self.sweep.stop()
        self.supervisor.stop("sweep", 0.3)
        self.sweep.finish()
        if self.cluster:
            self.cluster.end_reading()
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
        self.supervisor.spawn("last commit", self._commit_rest)
        self.supervisor.stop("last commit", max(0.5, deadline - self.clock.monotonic()))
        self.notifying.stop(max(0.2, deadline - self.clock.monotonic()))
        self.supervisor.stop_all(0.2)
        code = close_journal(self.committer, self.journal, self.journal_thread)
        if self.cluster:
            self.cluster.stop()
        if self.redis:
            self.redis.close()
        write_last_figures(self.status)
        log.info("stopped stored_trades=%d%s", self.stats.get("durable_trades_total"),
                 "".join(f" {name}_lacks={drain.lag_rows} (kept in the journal)" for name, drain in self.drains.items()
                         if drain.lag_rows))
        return code

    def _commit_rest(self) -> None:
        self.committer.flush()

    def _catch_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self.ended.set)

    def reload_on_hangup(self, first: Config, read: Callable[[], Config]) -> None:
        """Read the config again on SIGHUP; end if the terminal is gone."""
        reloading = Reloading(self, first, read)
        reloading.retaining = lambda: self.jobs.retaining
        reloading.windows = lambda: self.listings.windows if self.listings else None
        reloading.watch_signal(self.ended.set)
        self.supervisor.spawn("config", reloading.run)

    def wait(self) -> None:
        """Return after SIGTERM, SIGINT or `ended.set()`. Raises the ConfigError of a sink that a person must repair."""
        self._catch_signals()
        self.ended.wait()
        if self.sink_error is not None:
            raise self.sink_error

    def _add_venue(self, venue: Venue, config: VenueConfig, recovery: Recovery, ended_at_ns: int) -> None:
        since_ns, down = down_since_ns(venue, recovery) or ended_at_ns, None
        if since_ns and not self.cluster:  # in a cluster each slice has its own gap, as another member may have read it
            down = gap_since(venue, since_ns, self.clock.now_ns(), self.threaded_ledger.connection_events, clean=recovery.clean)
            self.recorder.record(Records(gaps=[down]))
        self._add_feeds(venue, config, down, since_ns)

    def _add_feeds(self, venue: Venue, config: VenueConfig, down: Gap | None, down_since_ns: int) -> None:
        network = Network(self.http, self.dialer, self.sweep, self.rate_limits, self.config.net.max_frame_bytes)
        process = Process(self.clock, self.stats, self.catalogue, self.symbols, self.recorder.record, self.supervisor.spawn,
                          self.ingest.dedupe.last_times, self.config.roster_refresh_s, self.ingest.resume)
        slices = self.config.cluster.shards_per_venue if self.cluster else 0
        self.venues.append(VenueFeeds(venue, config, self.ingest.add_venue(venue, down), down_since_ns, network, process, slices))

    def _run_drain(self, drain: Drain) -> None:
        try:
            drain.run()
        except ConfigError as error:
            self.sink_error = error
            self.ended.set()

    def _durable(self, batch_id: int, batch: TradeBatch) -> None:
        self.recent.add(batch)
        self.serving.note_trades(batch)
        self.rollout.durable(batch_id)
        if self.cluster:
            self.cluster.durable(batch_id, batch)
        for drain in self.drains.values():
            drain.offer(batch_id, batch)


def _make_cluster(collector: Collector) -> ClusterMember | None:
    """Return the collector's place in its cluster; None, without an import, if it runs alone."""
    if not collector.config.cluster.name:
        return None
    from pumpwatch.app.cluster import ClusterMember

    return ClusterMember(collector, {venue.name: part for venue, part in collector.chosen})
