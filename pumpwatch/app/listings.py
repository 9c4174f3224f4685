"""The listing stage wired to the rest: boards and inbox to windows, windows to the stores, the sweep and the sinks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pumpwatch.errors import PumpWatchError, StorageError
from pumpwatch.hookspecs import ListingEvent
from pumpwatch.listing.archive import exchanges_in
from pumpwatch.listing.inbox import Inbox, folder_of
from pumpwatch.listing.watch import Watch
from pumpwatch.listing.window import WindowKeeper
from pumpwatch.model import Gap, Listing
from pumpwatch.net.http import Response
from pumpwatch.store.query import QueryResult, find

if TYPE_CHECKING:
    from pumpwatch.app.collector import Collector

log = logging.getLogger(__name__)


class Listings:
    """Every notice board of the config, the inbox, and the windows they open."""

    def __init__(self, collector: Collector) -> None:
        self._of = one = collector
        options = one.config.listing
        ledger = one.journal.ledger
        self.windows = WindowKeeper(
            self._trades, one.catalogue, ledger, one.clock, one.stats, Path(options.archive_dir), window_s=options.window_s,
            gaps=self._gaps, sweep=one.sweep.hasten, publish=self._publish, call=one.in_ledger_thread)
        self.watches = [
            Watch(one.plugins.source(name), self._fetch, ledger, one.clock, one.stats, self.windows.open, url=part.url,
                  interval_s=part.interval_s, fresh_s=options.fresh_s, call=one.in_ledger_thread)
            for name, part in options.sources.items() if part.enabled and name in one.plugins.sources]
        self._inbox = Inbox(folder_of(one.config), ledger, one.clock, one.stats, self.windows.open,
                            fresh_s=options.fresh_s, call=one.in_ledger_thread)

    def start(self) -> None:
        """Take up unfinished windows and start looking."""
        one = self._of
        try:
            self.windows.resume(one.config.store.retention_hours * 3600)
        except StorageError as error:  # a locked ledger is no reason not to record
            log.error("unfinished windows are left to the next start reason=%s", error.message)
        one.supervisor.spawn("windows", self.windows.run)
        for watch in self.watches:
            watch.schedule(one.jobs.scheduler)
        self._inbox.schedule(one.jobs.scheduler)

    def status(self) -> dict[str, Any]:
        """Return how the boards fare, and the windows that are open."""
        return {**{watch.source.name: watch.state() for watch in self.watches},
                "windows": {"open": len(self.windows.open_windows())}}

    def _fetch(self, url: str, headers: Mapping[str, str]) -> Response:
        return self._of.http.fetch(url, headers)

    def _trades(self, coin: str, start_ns: int, end_ns: int) -> QueryResult:
        one = self._of
        return find(coin, start_ns, end_ns, recent=one.recent, journal_query=one.journal_query, sinks=one.sinks,
                    catalogue=one.catalogue, journal_from_ns=one.journal.whole_from_ns())

    def _gaps(self, start_ns: int, end_ns: int) -> Sequence[Gap]:
        return self._of.in_ledger_thread(self._of.journal.ledger.gaps_between, start_ns, end_ns)

    def _publish(self, listing: Listing, archive: str, trades: int) -> None:
        exchanges = self._of.memory_thread.apply(exchanges_in, (Path(archive),))
        for name, sink in self._of.sinks.items():
            try:
                sink.write_listing(listing, ListingEvent(archive, trades, exchanges))
            except PumpWatchError as error:
                log.warning("a listing is not in the sink sink=%s coin=%s reason=%s", name, listing.symbol, error)
