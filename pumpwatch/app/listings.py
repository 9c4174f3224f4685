"""Connect the listing stage: sources and inbox to windows, and windows to the stores, the sweep and the sinks."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import gevent
from gevent.threadpool import ThreadPool

from pumpwatch.app.parts import CollectorParts
from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.config import source_options
from pumpwatch.config_listing import SourceConfig
from pumpwatch.errors import BadFrame
from pumpwatch.feeds.venue import VenueFeeds
from pumpwatch.hookspecs import AnySource, ListingSource, MarketSource, PushSource
from pumpwatch.listing.archive_writer import ArchiveProcess
from pumpwatch.listing.book_recorder import BookAccess, BookRecorder
from pumpwatch.listing.catch_up import CatchUp
from pumpwatch.listing.context import IntakeContext, TradeAccess, WindowContext, always, reaches_of
from pumpwatch.listing.inbox import Inbox, inbox_folder
from pumpwatch.listing.listing_ledger import Call, ListingLedger
from pumpwatch.listing.publication import Publisher, ignore_published
from pumpwatch.listing.push_watch import PushWatch
from pumpwatch.listing.validation import check_source
from pumpwatch.listing.watch import Watch
from pumpwatch.listing.window import WindowKeeper
from pumpwatch.model import Listing, TradeBatch
from pumpwatch.net.http import Response
from pumpwatch.ops.schedule import Scheduler
from pumpwatch.printable import printable
from pumpwatch.store.in_thread import in_thread
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.query import QueryResult, find, merged
from pumpwatch.store.recent import Recent, extract
from pumpwatch.venue import HttpRequest

if TYPE_CHECKING:
    from pumpwatch.app.cluster_listings import ClusterListings

log = logging.getLogger(__name__)

T = TypeVar("T")

ROLE_S = 0.5  # between two checks whether this member listens to a source that pushes
LEDGER_ANSWER_S = 2.0  # a notice waits this long for the ledger; then its window is opened without it


class EveryVenue:
    """Reads a coin on two connections of every venue that has it."""

    def __init__(self, venues: Sequence[VenueFeeds]) -> None:
        self._venues = venues

    def double(self, coin: str) -> None:
        """Read this coin twice from now on, on every venue that lists it now or later."""
        for feeds in self._venues:
            feeds.double(coin)

    def release(self, coin: str) -> None:
        """Undo one `double`."""
        for feeds in self._venues:
            feeds.release(coin)


class MemoryInThread:
    """The trades in memory, searched in a thread, because a search for a window takes too long for the hub."""

    def __init__(self, recent: Recent, offload: Call) -> None:
        self._recent, self._offload = recent, offload
        self.covers_from_ns = recent.covers_from_ns

    def query(self, ids: Sequence[int], start_ns: int, end_ns: int) -> TradeBatch:
        """Return the trades of these instruments in [start_ns, end_ns), by timestamp."""
        return self._offload(extract, self._recent.held(start_ns, end_ns), ids, start_ns, end_ns)

    def elsewhere(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        """Return the parts of [start_ns, end_ns) that are not in memory."""
        return self._recent.elsewhere(start_ns, end_ns)


class ListingStage:
    """The listing sources of the config, the inbox, and the windows that they open."""

    def __init__(self, collector: CollectorParts) -> None:
        self._collector = collector
        options, clock, stats = collector.config.listing, collector.clock, collector.stats
        self._source_threads = ThreadPool(max(1, len(options.sources)))  # a source that hangs does not delay others
        self._ledger = in_thread(collector.journal.ledger, collector.ledger_thread)
        impatient = in_thread(collector.journal.ledger, collector.ledger_thread, within_s=LEDGER_ANSWER_S,
                              late="the ledger does not answer")
        self._shared = self._join_cluster(impatient)
        shared = self._shared
        self.publisher = Publisher(collector.sinks, clock, stats, self._in_memory_thread, shared.leads if shared else always,
                                   shared.published if shared else ignore_published)
        self._books = BookRecorder([_book_access(collector, feeds) for feeds in collector.venues], collector.catalogue, clock,
                                   stats, collector.supervisor.spawn)
        self.windows = WindowKeeper(
            WindowContext(ledger=ListingLedger(self._ledger), clock=clock, stats=stats, catalogue=collector.catalogue,
                          archive_dir=Path(options.archive_dir), reaches=reaches_of(options),
                          fresh_s=options.fresh_s, paused=lambda: collector.disk.only_recording),
            TradeAccess(query=self._trades, gaps=self._ledger.gaps_between, behind=self._behind, unlisted=self._unlisted,
                        books=self._books),
            hasten=collector.sweep.hasten, publisher=self.publisher,
            doubler=EveryVenue(collector.venues) if options.doubled else None, writer=ArchiveProcess(),
            on_written=collector.notifying.written, sharing=shared.sharing if shared else None)
        intake = IntakeContext(
            ledger=shared.ledger if shared else ListingLedger(impatient), clock=clock, stats=stats, on_listing=self._open,
            record=collector.recorder.record, fresh_s=options.fresh_s, kept_s=collector.config.store.retention_hours * 3600)
        if shared is not None:
            shared.connect(self.windows, self.publisher, intake, self._open_here)
        sources = list(_usable_sources(collector))
        self._catch_ups: dict[str, CatchUp] = {}  # by the board that is read after a connect
        self.watches: list[Watch | PushWatch] = [
            Watch(source, self._fetch, intake, url=part.url, interval_s=part.interval_s, offload=self._run_source,
                  polls=self._polls)
            for source, part in sources if not isinstance(source, PushSource)]
        self._unpolled: list[Watch] = []  # boards that are read after a connect only
        self.watches += [self._push_watch(source, part, intake) for source, part in sources if isinstance(source, PushSource)]
        boards = [watch.source for watch in self.watches if not isinstance(watch.source, MarketSource)]
        self._inbox = Inbox(inbox_folder(collector.config), intake, {board.name: board for board in boards}, self._run_source)

    def _join_cluster(self, impatient: Ledger) -> ClusterListings | None:
        """Return the connection to the listings of other members; None without a cluster."""
        if self._collector.cluster is None:
            return None
        from pumpwatch.app.cluster_listings import ClusterListings  # Redis is an extra

        return ClusterListings(self._collector, self._collector.cluster, impatient, self._ledger, self._in_memory_thread)

    def _polls(self) -> bool:
        return self._shared is None or self._shared.polls()

    def _push_watch(self, source: PushSource, part: SourceConfig, intake: IntakeContext) -> PushWatch:
        options = source_options(self._collector.config, source)
        dial = self._collector.dialer.open
        if not source.board:
            return PushWatch(source, intake, url=part.url, offload=self._run_source, options=options, dial=dial)
        board = self._board(source.board, intake)
        if source.board not in self._catch_ups:
            self._catch_ups[source.board] = CatchUp(board)
        if source.verdict is None and isinstance(board.source, ListingSource):
            source = dataclasses.replace(source, verdict=board.source.verdict)
        return PushWatch(source, intake, url=part.url, offload=self._run_source, options=options, dial=dial,
                         bodies=board.bodies, on_connected=self._catch_ups[source.board].request)

    def _board(self, name: str, intake: IntakeContext) -> Watch:
        """Return the watch of a board. If the config leaves the board out, the watch is only read after a connect."""
        for watch in (*self.watches, *self._unpolled):
            if watch.source.name == name and isinstance(watch, Watch):
                return watch
        config = self._collector.config
        part = config.listing.sources.get(name) or config.idle_sources.get(name) or SourceConfig()
        source = self._collector.plugins.source(name)
        assert not isinstance(source, PushSource)
        self._unpolled.append(Watch(source, self._fetch, intake, url=part.url, offload=self._run_source))
        return self._unpolled[-1]

    def start(self, scheduler: Scheduler) -> None:
        """Resume unfinished windows, schedule the boards and the inbox, and listen to the sources that push."""
        kept_s = self._collector.config.store.retention_hours * 3600
        self._collector.supervisor.spawn("windows", partial(self.windows.run, kept_s))
        for watch in self.watches:
            if isinstance(watch, PushWatch):
                self._collector.supervisor.spawn(f"source {watch.source.name}", partial(self._listen, watch))
            watch.schedule(scheduler)
        for name, catch_up in self._catch_ups.items():
            self._collector.supervisor.spawn(f"catch-up {name}", catch_up.run)
        self._inbox.schedule(scheduler)
        if self._shared is not None:
            self._shared.start()

    def _listen(self, watch: PushWatch) -> None:
        """Listen to a source that pushes, while this member polls the boards."""
        if self._shared is None:
            watch.run()
            return
        listening: gevent.Greenlet[[], None] | None = None
        try:
            while not watch.stopped:
                polls = self._shared.polls()
                if polls and (listening is None or listening.dead):
                    listening = gevent.spawn(watch.run)
                elif not polls and listening is not None:
                    listening.kill()
                    listening = None
                gevent.sleep(ROLE_S)
        finally:
            if listening is not None:
                listening.kill()

    def stop(self) -> None:
        """Stop polling; the next start resumes open windows."""
        for watch in (*self.watches, *self._unpolled, *self._catch_ups.values()):
            watch.stop()
        if self._shared is not None:
            self._shared.stop()
        self.windows.stop()
        self._books.stop()

    def status(self) -> dict[str, Any]:
        """Return the state of each source, and the number of windows."""
        return {**{watch.source.name: watch.state() for watch in (*self.watches, *self._unpolled)},
                "windows": {"open": len(self.windows.open_windows()), "not_final": self.windows.not_final()}}

    def _open(self, listing: Listing) -> None:
        if self._shared is not None:
            self._shared.ledger.publish_listing(listing)  # also where the ledger has failed
        self._open_here(listing)

    def _open_here(self, listing: Listing) -> None:
        self.windows.open(listing)
        if self._shared is not None:
            self._shared.began(listing)
        self._collector.notifying.seen(listing)

    def _fetch(self, url: str, headers: Mapping[str, str]) -> Response:
        return self._collector.http.fetch(url, headers)

    def _run_source(self, function: Callable[..., T], /, *args: Any) -> T:
        result: T = self._source_threads.apply(function, args)
        return result

    def _trades(self, coin: str, start_ns: int, end_ns: int) -> QueryResult:
        collector = self._collector
        return find(coin, start_ns, end_ns, recent=MemoryInThread(collector.recent, self._in_memory_thread),
                    merge=partial(self._in_memory_thread, merged), journal_query=collector.threaded_journal.query,
                    sinks=collector.sinks, catalogue=collector.catalogue, journal_from_ns=collector.journal.whole_from_ns(),
                    segments=collector.journal.segments_between, figures=collector.queries)

    def _behind(self, coin: str) -> tuple[float, float]:
        """Return the greatest lag of a coin's venues, and how long the oldest trade has waited for the disk, in seconds."""
        collector = self._collector
        venues = {".".join(collector.catalogue.venues[number]) for number in collector.catalogue.matching(coin)}
        lag_ms = max((collector.stats.get("lag_ms", venue=venue) for venue in venues), default=0.0)
        oldest_ns = collector.committer.oldest_waiting_ns
        waiting_s = (collector.clock.now_ns() - oldest_ns) / NS_PER_S if oldest_ns else 0.0
        return max(0.0, lag_ms * NS_PER_MS / NS_PER_S), max(0.0, waiting_s)

    def _unlisted(self) -> Sequence[str]:
        return [feeds.venue.name for feeds in self._collector.venues if not feeds.has_list]

    def _in_memory_thread(self, function: Callable[..., T], /, *args: Any) -> T:
        result: T = self._collector.memory_thread.apply(function, args)
        return result


def _book_access(collector: CollectorParts, feeds: VenueFeeds) -> BookAccess:
    def ask(request: HttpRequest) -> bytes:
        return collector.http.ask(feeds.rest_url, request, feeds.venue.headers, feeds.budget)

    return BookAccess(feeds.venue, feeds.budget, ask)


def _usable_sources(collector: CollectorParts) -> Iterator[tuple[AnySource, SourceConfig]]:
    """Yield the sources of the config. A source with invalid facts is logged and left out."""
    for name, part in collector.config.listing.sources.items():
        if not part.enabled or name not in collector.plugins.sources:
            continue
        source = collector.plugins.source(name)
        try:
            check_source(source)
        except BadFrame as error:
            log.error("listing source left out source=%s reason=%s", printable(name), printable(error.message))
            continue
        if not isinstance(source, PushSource):
            yield source, part
            continue
        board = collector.plugins.sources.get(source.board)
        if source.board and not isinstance(board, ListingSource):
            log.error("listing source left out source=%s reason=no plugin offers its board %s", printable(name),
                      printable(source.board))
        elif source.configured(source_options(collector.config, source)):
            yield source, part
