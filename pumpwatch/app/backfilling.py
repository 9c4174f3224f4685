"""Connect the backfill stage: the venues' histories and budgets, the pipeline, the stores, and the listing windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import gevent
from gevent.threadpool import ThreadPool

from pumpwatch.app.parts import CollectorParts
from pumpwatch.backfill.access import BackfillOptions, BackfillStores, HistoryAccess, Means
from pumpwatch.backfill.backfill import Backfill, BackfillSources
from pumpwatch.backfill.budget import BudgetShares
from pumpwatch.clock import NS_PER_MS
from pumpwatch.errors import StorageError
from pumpwatch.feeds.venue import VenueFeeds
from pumpwatch.model import TradeBatch
from pumpwatch.store.last_ids import Name
from pumpwatch.venue import HttpRequest


def make_backfill(collector: CollectorParts, coins: Callable[[], list[str]]) -> Backfill:
    """Return the backfill stage of a collector that has its venues. coins(): the coins of listing windows, the oldest first."""
    config = collector.config
    options = BackfillOptions(
        reach_s=config.backfill.reach_h * 3600, kept_s=config.store.retention_hours * 3600, settle_s=config.backfill.settle_s,
        concurrency=config.backfill.concurrency, aggregated=config.backfill.aggregated)
    stored = StoredTradeLookup(collector)
    stores = BackfillStores(stored=stored.find, put=collector.committer.put,
                    wait_durable=collector.committer.wait_durable, record=collector.recorder.record, pipeline=collector.ingest)
    shares = BudgetShares(config.backfill.budget, collector.clock)
    sources = BackfillSources(
        ledger=collector.threaded_ledger, changes=lambda: collector.recorder.gaps_written,
        volume_of=lambda number: collector.catalogue.instruments[number].volume,
        windows=partial(_windows, collector, coins), rest=stored.rest, close=stored.close)
    venues = [_access(collector, feeds, shares) for feeds in collector.venues]
    return Backfill(venues, sources, Means(stores, collector.clock, collector.stats, options), config.backfill.enabled)


def _access(collector: CollectorParts, feeds: VenueFeeds, shares: BudgetShares) -> HistoryAccess:
    venue = feeds.venue

    def ask(request: HttpRequest) -> bytes:
        return collector.http.ask(feeds.rest_url, request, venue.headers, feeds.budget)

    return HistoryAccess(
        venue=venue, ids=collector.catalogue.ids_of((venue.exchange, venue.market_type)), ask=ask, share=shares.of(feeds.budget),
        parser=collector.ingest.parser_of(venue),
        lag_ns=lambda: int(collector.stats.get("lag_ms", venue=venue.name) * NS_PER_MS), listed=lambda: feeds.has_list,
        is_listed=feeds.is_listed)


class StoredTradeLookup:
    """Looks up durable trades in a separate thread, so that commits do not wait for it."""

    def __init__(self, collector: CollectorParts) -> None:
        self._collector, self._thread, self._closed = collector, ThreadPool(1), False
        self._reader = collector.journal.side_reader()

    def find(self, number: int, start_ns: int, end_ns: int) -> TradeBatch:
        """Return an instrument's stored trades, see `BackfillStores`. Raises StorageError if the store is unreadable."""
        if start_ns >= end_ns:
            return TradeBatch.empty()
        name, = self._collector.catalogue.names([number])
        batch = self._thread.apply(self._read, (name, start_ns, end_ns))
        return self._collector.threaded_journal.query([name], start_ns, end_ns) if batch is None else batch

    def _read(self, name: Name, start_ns: int, end_ns: int) -> TradeBatch | None:
        if self._closed:
            raise StorageError("the collector is stopping")
        return self._reader.query(name, start_ns, end_ns)

    def rest(self) -> None:
        """Release files and memory until the next look-up."""
        self._thread.apply(self._reader.close)

    def close(self) -> None:
        """Reject further look-ups, and close the files after the running one. Does not wait."""
        self._closed = True
        gevent.spawn(self._thread.apply, self._reader.close)


def _windows(collector: CollectorParts, coins: Callable[[], list[str]]) -> Mapping[int, int]:
    """Return the place, in order of age, of the listing window of each instrument whose coin has one."""
    places: dict[int, int] = {}
    for place, coin in enumerate(coins()):
        for number in collector.catalogue.matching(coin):
            places.setdefault(number, place)
    return places
