"""The listing stage wired to the rest: boards and inbox to windows, windows to the stores, the sweep and the sinks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gevent.threadpool import ThreadPool

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.config import SourceConfig
from pumpwatch.errors import BadFrame, PumpWatchError
from pumpwatch.hookspecs import ListingEvent, ListingSource
from pumpwatch.listing.archive import exchanges_in
from pumpwatch.listing.border import check_source
from pumpwatch.listing.inbox import Inbox, folder_of
from pumpwatch.listing.watch import Watch
from pumpwatch.listing.window import WindowKeeper
from pumpwatch.model import Gap, Listing
from pumpwatch.net.http import Response
from pumpwatch.printable import printable
from pumpwatch.store.query import QueryResult, find

if TYPE_CHECKING:
    from pumpwatch.app.collector import Collector

log = logging.getLogger(__name__)

T = TypeVar("T")


class Listings:
    """Every notice board of the config, the inbox, and the windows they open."""

    def __init__(self, collector: Collector) -> None:
        self._of = one = collector
        options = one.config.listing
        ledger = one.journal.ledger
        self._reading_threads = ThreadPool(max(1, len(options.sources)))  # a source that hangs holds up no other
        kept_s = one.config.store.retention_hours * 3600
        self.windows = WindowKeeper(
            self._trades, one.catalogue, ledger, one.clock, one.stats, Path(options.archive_dir), window_s=options.window_s,
            fresh_s=options.fresh_s, gaps=self._gaps, sweep=one.sweep.hasten, publish=self._publish, behind=self._behind,
            unlisted=self._unlisted, call=one.in_ledger_thread)
        self.watches = [
            Watch(source, self._fetch, ledger, one.clock, one.stats, self.windows.open, url=part.url,
                  interval_s=part.interval_s, fresh_s=options.fresh_s, kept_s=kept_s, record=one.ingest.record,
                  call=one.ask_ledger, think=self._think)
            for source, part in _usable(one)]
        self._inbox = Inbox(folder_of(one.config), ledger, one.clock, one.stats, self.windows.open,
                            fresh_s=options.fresh_s, kept_s=kept_s, record=one.ingest.record, call=one.ask_ledger)

    def start(self) -> None:
        """Take up unfinished windows and start looking."""
        one = self._of
        one.supervisor.spawn("windows", partial(self.windows.run, one.config.store.retention_hours * 3600))
        for watch in self.watches:
            watch.schedule(one.jobs.scheduler)
        self._inbox.schedule(one.jobs.scheduler)

    def stop(self) -> None:
        """Look no more, and leave open windows to the next start."""
        for watch in self.watches:
            watch.stop()
        self.windows.stop()

    def status(self) -> dict[str, Any]:
        """Return how the boards fare, and the windows that are open."""
        return {**{watch.source.name: watch.state() for watch in self.watches},
                "windows": {"open": len(self.windows.open_windows()), "not_final": self.windows.looked_at()}}

    def _fetch(self, url: str, headers: Mapping[str, str]) -> Response:
        return self._of.http.fetch(url, headers)

    def _think(self, function: Callable[..., T], /, *args: Any) -> T:
        result: T = self._reading_threads.apply(function, args)
        return result

    def _trades(self, coin: str, start_ns: int, end_ns: int) -> QueryResult:
        one = self._of
        return find(coin, start_ns, end_ns, recent=one.recent, journal_query=one.journal_query, sinks=one.sinks,
                    catalogue=one.catalogue, journal_from_ns=one.journal.whole_from_ns())

    def _gaps(self, start_ns: int, end_ns: int) -> Sequence[Gap]:
        return self._of.in_ledger_thread(self._of.journal.ledger.gaps_between, start_ns, end_ns)

    def _behind(self, coin: str) -> tuple[float, float]:
        """Return by how much the trades of a coin arrive late now, and how long the oldest trade has waited for the disk."""
        one = self._of
        venues = {".".join(one.catalogue.venues[number]) for number in one.catalogue.matching(coin)}
        lag_ms = max((one.stats.get("lag_ms", venue=venue) for venue in venues), default=0.0)
        oldest_ns = one.committer.oldest_waiting_ns
        waiting_s = (one.clock.now_ns() - oldest_ns) / NS_PER_S if oldest_ns else 0.0
        return max(0.0, lag_ms * NS_PER_MS / NS_PER_S), max(0.0, waiting_s)

    def _unlisted(self) -> Sequence[str]:
        return [feeds.venue.name for feeds in self._of.venues if not len(feeds.placement)]

    def _publish(self, listing: Listing, archive: str, trades: int) -> None:
        exchanges = self._of.memory_thread.apply(exchanges_in, (Path(archive),))
        for name, sink in self._of.sinks.items():
            try:
                sink.write_listing(listing, ListingEvent(archive, trades, exchanges))
            except PumpWatchError as error:
                log.warning("a listing is not in the sink sink=%s coin=%s reason=%s", name, listing.symbol, error)


def _usable(one: Collector) -> Iterator[tuple[ListingSource, SourceConfig]]:
    """Yield the sources of the config; one whose facts are wrong is left out and named, and the others are asked."""
    for name, part in one.config.listing.sources.items():
        if not part.enabled or name not in one.plugins.sources:
            continue
        source = one.plugins.source(name)
        try:
            check_source(source)
        except BadFrame as error:
            log.error("listing source left out source=%s reason=%s", printable(name), printable(error.message))
        else:
            yield source, part
