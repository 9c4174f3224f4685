"""The parts of a running collector, as its jobs, listings and status use them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gevent.threadpool import ThreadPool

from pumpwatch.app.shared_limits import SharedLimits
from pumpwatch.backfill.backfill import Backfill
from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.config import Config
from pumpwatch.feeds.rate_limits import VenueRateLimits
from pumpwatch.feeds.venue import VenueFeeds
from pumpwatch.hookspecs import Sink
from pumpwatch.instruments.symbols_file import SymbolsFile
from pumpwatch.listing.archive import Archive
from pumpwatch.model import Listing
from pumpwatch.net.http import Http
from pumpwatch.net.sweep import Sweep
from pumpwatch.net.ws import Dialer
from pumpwatch.notify.notifier import MakeEvent, Notifier
from pumpwatch.ops.cold_tier import ColdTier
from pumpwatch.ops.disk_watch import DiskWatch
from pumpwatch.ops.memory_watch import MemoryWatch
from pumpwatch.pipeline.ingest import Ingest
from pumpwatch.plugins import Plugins
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.stats import Stats
from pumpwatch.store.committer import Committer
from pumpwatch.store.drain import Drain
from pumpwatch.store.journal import Journal
from pumpwatch.store.lasting import LastingLedger
from pumpwatch.store.query_figures import QueryFigures
from pumpwatch.store.recent import Recent
from pumpwatch.store.recorder import Recorder
from pumpwatch.store.sink_calls import SinkCalls
from pumpwatch.supervisor import Supervisor

if TYPE_CHECKING:
    from pumpwatch.cluster.coordinator import Coordinator
    from pumpwatch.cluster.work_claims import WorkClaims
    from pumpwatch.redis.connection import RedisConnection


class ClusterPlace(Protocol):
    """A collector's place in its cluster. Read the coordinator's roles at the moment of acting."""

    name: str
    member: str
    redis: RedisConnection
    coordinator: Coordinator
    once: WorkClaims

    def on_role(self, callback: Callable[[str, bool], None]) -> None:
        """Call `callback` with each role that this member gains (True) or loses (False)."""

    def health_rows(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the health rows to be written here: those of all members, or none if another member writes them."""

    def slice_spans(self, venue: str, symbol: str) -> tuple[tuple[int, int], ...]:
        """Return the times [from_ns, to_ns) in which this run read a symbol's slice."""


class Notifies(Protocol):
    """Sends messages about listings. Only `stop` waits."""

    notifier: Notifier
    tells: Callable[[], bool]  # whether this collector sends the messages about listings
    on_told: Callable[[str], None]

    def take_over(self, since_ns: int) -> None:
        """Send messages about listings since a time (ns UTC) that no member has sent. Raises StorageError."""

    def start(self) -> None:
        """Start the greenlets of the channels."""

    def replace_channels(self, config: Config) -> None:
        """Use other channels from now on. Raises ConfigError before any channel is changed."""

    def seen(self, listing: Listing) -> None:
        """Send a message that a listing's window was opened."""

    def written(self, listing: Listing, archive: Archive, problems: Sequence[str]) -> None:
        """Send a message that a listing's archive was written."""

    def stop(self, within_s: float) -> None:
        """Wait for the running tries, after `notifier.stop`; end those that take longer."""


class Serves(Protocol):
    """Serves the page and the API."""

    @property
    def url(self) -> str:
        """Return the address of the page; empty while it is not served."""


class ReportsStores(Protocol):
    """Watches the stores."""

    def look(self) -> None:
        """Query the figures of every store; never wait for a store that hangs."""

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each store."""


class CollectorParts(Protocol):
    """A collector without its jobs, listings and status. `journal` blocks the hub; `threaded_journal` blocks only the caller."""

    config: Config
    plugins: Plugins
    sinks: dict[str, Sink]
    sink_calls: dict[str, SinkCalls]
    clock: Clock
    stats: Stats
    redis: RedisConnection | None  # None if the config does not name a node
    shared: SharedLimits | None  # None without Redis
    catalogue: Catalogue
    supervisor: Supervisor
    folder: Path
    started_at_ns: int
    http: Http
    dialer: Dialer
    rate_limits: VenueRateLimits
    sweep: Sweep
    ingest: Ingest
    journal: Journal
    threaded_journal: Journal
    recorder: Recorder
    committer: Committer
    recent: Recent
    queries: QueryFigures
    disk: DiskWatch
    cold_tiers: list[ColdTier]  # of the sinks that drop days
    memory: MemoryWatch
    symbols: SymbolsFile
    drains: dict[str, Drain]
    stores: ReportsStores
    venues: list[VenueFeeds]
    backfill: Backfill | None
    notifying: Notifies
    ledger_thread: ThreadPool
    memory_thread: ThreadPool  # for short work that would hold up the hub

    @property
    def cluster(self) -> ClusterPlace | None:
        """The place in the cluster; None for a collector that runs alone."""

    def cluster_status(self) -> dict[str, Any]:
        """Return the figures of the cluster; empty for a collector that runs alone."""

    @property
    def threaded_ledger(self) -> LastingLedger:
        """The open ledger, with methods that run in its own thread."""

    def job_rows(self) -> list[dict[str, Any]]:
        """Return a row for each scheduled job, see `Scheduler.rows`."""

    def alert_rows(self) -> list[dict[str, Any]]:
        """Return the active alerts, see `AlertBook.rows`."""

    def alert_events(self, since_ns: int) -> list[MakeEvent]:
        """Return the events of the alerts that began or ended since a time (ns UTC), sent or not."""

    @property
    def serving(self) -> Serves:
        """The page and the API."""

    def backup_status(self) -> dict[str, Any]:
        """Return the results of the last backups, and the time of the next."""

    def rollout_status(self) -> dict[str, Any]:
        """Return the state of the roll-out of a sink; empty without one."""

    def roll_out(self, action: str, reason: str) -> dict[str, Any]:
        """Act on the roll-out; return its state. Raises UsageError without a roll-out, or for an action out of order."""

    def market_status(self) -> dict[str, Any]:
        """Return the state of the process that makes market data."""

    def listing_status(self) -> dict[str, Any]:
        """Return the state of the notice boards and windows; empty before the start."""
