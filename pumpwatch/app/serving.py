"""Connect the API to its collector."""

from __future__ import annotations

from functools import partial
from typing import Any

from gevent.threadpool import ThreadPool

from pumpwatch.api.access import access_of
from pumpwatch.api.desk import Desk
from pumpwatch.api.listing_rows import ListingRows
from pumpwatch.api.market import HeldTrades, days
from pumpwatch.api.paper_starts import PaperStarts
from pumpwatch.api.reader_pool import ReaderPool
from pumpwatch.api.service import Service
from pumpwatch.api.sessions import Sessions
from pumpwatch.app.jobs import CollectorJobs
from pumpwatch.app.page_events import PageEvents
from pumpwatch.app.parts import CollectorParts
from pumpwatch.app.price_sharing import PriceSharing
from pumpwatch.app.status import Status
from pumpwatch.feeds.venue import VenueFeeds
from pumpwatch.market.disk_cache import BOOK_S, TICKER_S, CacheInThread, DiskCache, disk_caches
from pumpwatch.market.service import DiskTiers, MarketService
from pumpwatch.market.venue_asker import VenueAccess, VenueAsker
from pumpwatch.model import TradeBatch
from pumpwatch.ops.metrics import Metrics
from pumpwatch.redis.market_tiers import shared_market
from pumpwatch.venue import HttpRequest

THREADS = 2


class Serving:
    """The API of one collector, if the config enables it. Raises ConfigError for an address that is not allowed."""

    def __init__(self, collector: CollectorParts, status: Status, jobs: CollectorJobs) -> None:
        self._collector, self._status, self._jobs = collector, status, jobs
        self._metrics = Metrics()
        self._page = PageEvents(collector, status, jobs)
        access = access_of(collector.config)
        self._prices = PriceSharing(collector.redis, collector.catalogue)
        self._readers = ReaderPool(collector.config, collector.stats, collector.config.api.readers)
        shared = collector.shared
        self._sessions = Sessions(access.token if access is not None else "", collector.clock, collector.stats,
                                  shared.sessions if shared is not None else None,
                                  secure=access is not None and access.tls is not None)
        self.desk = self._desk()
        self.service = (Service(self.desk, access, shared.requests if shared is not None else None)
                        if access is not None else None)

    def _desk(self) -> Desk:
        collector, threads = self._collector, ThreadPool(THREADS)
        return Desk(config=collector.config, clock=collector.clock, stats=collector.stats, catalogue=collector.catalogue,
                    recent=collector.recent, figures=lambda: self._status.last, unready=self._unready, jobs=self._jobs.rows,
                    connections=self._connections, plugins=collector.plugins, readers=self._readers,
                    listings=ListingRows(collector.config, collector.clock, threads), threads=threads,
                    samples=lambda: self._metrics.read(self._status.now()), queries=collector.queries,
                    broadcast=self._page.broadcast, sessions=self._sessions, roll_out=collector.roll_out, market=self._market(),
                    paper_starts=PaperStarts(collector.config))

    def _market(self) -> MarketService:
        """Return the service of tickers and order books, which queries venues within the collector's own budgets."""
        collector = self._collector

        def access(feeds: VenueFeeds) -> VenueAccess:
            def ask(request: HttpRequest) -> bytes:
                return collector.http.ask(feeds.rest_url, request, feeds.venue.headers, feeds.budget)

            return VenueAccess(feeds.venue, ask)

        def found(venue: str) -> VenueAccess | None:  # looked up late: the venues are added after the API
            return next((access(feeds) for feeds in collector.venues if feeds.venue.name == venue), None)

        return MarketService(HeldTrades(collector.catalogue, (), 0), None, VenueAsker(found, collector.clock), collector.clock,
                             self._disk_tiers(), shared=shared_market(collector.redis, TICKER_S, BOOK_S, collector.clock),
                             day=lambda ids: days(self.desk, ids))

    def _disk_tiers(self) -> DiskTiers:
        """Return the caches on the disk, which the commands share; a disk that hangs blocks only their thread."""
        most_bytes, thread = int(self._collector.config.market.cache_mb * 1e6), ThreadPool(1)
        if not most_bytes or access_of(self._collector.config) is None:
            return DiskTiers()
        folder, clock = self._collector.folder, self._collector.clock
        made = [CacheInThread(partial(DiskCache, path, most_bytes, ttl_s, clock, kind), thread)
                for path, ttl_s, kind in disk_caches(folder)]
        return DiskTiers(*made)

    def note_trades(self, batch: TradeBatch) -> None:
        """Use durable trades in answers about prices, here and in other processes."""
        self._prices.add(batch)
        if self.service is not None and self.desk.market is not None:
            self.desk.market.note_trades(batch)

    def _connections(self, venue: str) -> list[dict[str, Any]] | None:
        """Return a row for each connection of a venue; None if the venue is not collected."""
        return next((feeds.connection_rows() for feeds in self._collector.venues if feeds.venue.name == venue), None)

    def _unready(self) -> str:
        """Return the reason why the collector does not record; empty if it does."""
        figures: dict[str, Any] = self._status.last
        if not figures:
            return "it is starting"
        if figures["journal"]["dropped_trades"] and figures["journal"]["backlog_trades"]:
            return "the disk does not take the trades"
        return ""

    def cache_figures(self) -> dict[str, dict[str, float]]:
        """Return the figures of each cache of market data."""
        return self.desk.market.figures() if self.desk.market is not None else {}

    @property
    def url(self) -> str:
        """Return the address of the page; empty while it is not served."""
        return self.service.url if self.service is not None else ""

    def keep_warnings(self) -> None:
        """Begin to keep log warnings for the page, before it is served."""
        if self.service is not None:
            self._page.keep_warnings()

    def start(self) -> None:
        """Serve the API from now on."""
        self._prices.start(self._collector.supervisor.spawn)
        if self.service is not None:
            self._collector.supervisor.spawn("api", self.service.run)
            self._page.start()

    def stop(self) -> None:
        """Stop serving. Answers that are being sent are cut off."""
        if self.service is not None:
            self._page.stop()
            self.service.stop()
            self._collector.supervisor.stop("api", 0.5)
            self._readers.close()
