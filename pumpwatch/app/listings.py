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
from pumpwatch.errors import BadFrame
from pumpwatch.hookspecs import ListingSource
from pumpwatch.listing.context import IntakeContext, TradeAccess, WindowContext
from pumpwatch.listing.inbox import Inbox, inbox_folder
from pumpwatch.listing.listing_ledger import ListingLedger
from pumpwatch.listing.publication import Publisher
from pumpwatch.listing.validation import check_source
from pumpwatch.listing.watch import Watch
from pumpwatch.listing.window import WindowKeeper
from pumpwatch.model import Gap
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
        self._reading_threads = ThreadPool(max(1, len(options.sources)))  # a source that hangs holds up no other
        kept_s = one.config.store.retention_hours * 3600
        self.publisher = Publisher(one.sinks, one.clock, one.stats, self._read_archive)
        self.windows = WindowKeeper(
            WindowContext(ledger=ListingLedger(one.journal.ledger, one.in_ledger_thread), clock=one.clock, stats=one.stats,
                          catalogue=one.catalogue, archive_dir=Path(options.archive_dir), window_s=options.window_s,
                          fresh_s=options.fresh_s),
            TradeAccess(query=self._trades, gaps=self._gaps, behind=self._behind, unlisted=self._unlisted),
            hasten=one.sweep.hasten, publisher=self.publisher)
        intake = IntakeContext(
            ledger=ListingLedger(one.journal.ledger, one.ask_ledger), clock=one.clock, stats=one.stats,
            on_listing=self.windows.open, record=one.ingest.record, fresh_s=options.fresh_s, kept_s=kept_s)
        self.watches = [
            Watch(source, self._fetch, intake, url=part.url, interval_s=part.interval_s, offload=self._run_source)
            for source, part in _usable(one)]
        self._inbox = Inbox(inbox_folder(one.config), intake)

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
                "windows": {"open": len(self.windows.open_windows()), "not_final": self.windows.not_final()}}

    def _fetch(self, url: str, headers: Mapping[str, str]) -> Response:
        return self._of.http.fetch(url, headers)

    def _run_source(self, function: Callable[..., T], /, *args: Any) -> T:
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
        return [feeds.venue.name for feeds in self._of.venues if not len(feeds.roster)]

    def _read_archive(self, function: Callable[..., T], /, *args: Any) -> T:
        result: T = self._of.memory_thread.apply(function, args)
        return result


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
