"""Keep the windows of listings: open, wait, ask the store for the trades, write the archive.

A listing's window is the `window_s` before and after its announcement, and the same around its detection (one interval
where they meet). Recording never depends on it, since every trade is stored anyway; while a window is open, the
sockets are only read more often. Windows of one coin that meet become one archive. A window is closed `SETTLE_S` after
its end, so that late trades are durable. What is unfinished when the collector stops, or when the disk refuses, is
finished later: at the next try, or at the next start from the journal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from gevent.event import Event
from gevent.threadpool import ThreadPool

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import ServiceUnavailable, StorageError
from pumpwatch.listing.archive import Archive, Part, Span, archive_name, write_archive
from pumpwatch.listing.memory import Call, ListingMemory, Remembered, call_here
from pumpwatch.model import Gap, Listing, TradeBatch
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

SETTLE_S = 3.0
RETRY_S = 10.0
TRIES = 6  # an archive for which some part of the store could not give all is written, and so often written again
LOOK_S = 0.25  # the longest sleep between two looks while a window is open

Interval = tuple[int, int]


class Answer(Protocol):
    """What a query for a coin's trades returns."""

    @property
    def batch(self) -> TradeBatch: ...
    @property
    def parts(self) -> Sequence[Part]: ...


Query = Callable[[str, int, int], Answer]  # coin, from, to (ns); may raise ServiceUnavailable or StorageError
Gaps = Callable[[int, int], Sequence[Gap]]  # from, to: known gaps that overlap
Publish = Callable[[Listing, str, int], None]  # listing, archive, trades: tells the sinks


def no_gaps(start_ns: int, end_ns: int) -> Sequence[Gap]:
    """Know of no gap."""
    return ()


def publish_nowhere(listing: Listing, archive: str, trades: int) -> None:
    """Tell nobody."""


def sweep_nothing(quick: bool) -> None:
    """Have no sockets to read."""


def intervals_of(listings: Iterable[Listing], window_s: float) -> list[Interval]:
    """Return what must be recorded for these listings, merged and ascending."""
    reach = int(window_s * NS_PER_S)
    wanted = sorted((at - reach, at + reach) for one in listings for at in (one.announced_at_ns, one.detected_at_ns))
    merged: list[Interval] = []
    for start, end in wanted:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


class _Window:
    """The open window of one coin."""

    def __init__(self, listing: Listing, window_s: float) -> None:
        self.coin = listing.symbol
        self.window_s = window_s
        self.listings: list[Listing] = []
        self.retry_at_ns = 0
        self.tries = 0
        self.written: Archive | None = None
        self.add(listing)

    def add(self, listing: Listing) -> None:
        self.listings.append(listing)
        self.intervals = intervals_of(self.listings, self.window_s)
        self.end_ns = self.intervals[-1][1]
        self.tries, self.written = 0, None

    def meets(self, listing: Listing) -> bool:
        """Return whether a listing of the same coin belongs into this window."""
        return listing.symbol == self.coin and any(
            start <= to and since <= end for start, end in self.intervals
            for since, to in intervals_of([listing], self.window_s))

    def due_ns(self) -> int:
        return max(self.end_ns + int(SETTLE_S * NS_PER_S), self.retry_at_ns)


class WindowKeeper:
    """Every open window. `open` and `resume` may be called at any time; `run` is the greenlet's body.

    query answers with a coin's trades; gaps with the known gaps; sweep(True) asks for quick reading and sweep(False)
    ends it; publish tells the sinks of a finished listing. call runs the memory's blocking methods.
    """

    def __init__(self, query: Query, catalogue: Catalogue, memory: ListingMemory, clock: Clock, stats: Stats,
                 archive_dir: Path, *, window_s: float = 20.0, gaps: Gaps = no_gaps,
                 sweep: Callable[[bool], None] = sweep_nothing, publish: Publish = publish_nowhere,
                 call: Call = call_here) -> None:
        self._query, self._catalogue, self._memory, self._clock, self._stats = query, catalogue, memory, clock, stats
        self._dir, self._window_s, self._gaps = archive_dir, window_s, gaps
        self._sweep, self._publish, self._call = sweep, publish, call
        self._windows: list[_Window] = []
        self._writer = ThreadPool(1)
        self._quick = self._stopped = self._said_trouble = False
        self._wake = Event()

    def open(self, listing: Listing) -> None:
        """Open a listing's window, or widen the one that it meets."""
        window = next((one for one in self._windows if one.meets(listing)), None)
        if window is None:
            window = _Window(listing, self._window_s)
            self._windows.append(window)
        else:
            window.add(listing)
        self._pace()
        log.info("window open coin=%s source=%s id=%s until_s=%.1f", listing.symbol, listing.source, listing.notice_id,
                 (window.end_ns - self._clock.now_ns()) / NS_PER_S)
        self._wake.set()

    def resume(self, retention_s: float) -> int:
        """Take up what an earlier run left unfinished, as far back as trades are kept; return how many windows."""
        oldest_ns = self._clock.now_ns() - int(retention_s * NS_PER_S)
        unfinished: Sequence[Remembered] = self._call(self._memory.listings, True)
        for record in unfinished:
            one = record.listing
            if intervals_of([one], self._window_s)[-1][1] < oldest_ns:
                log.warning("a window can no longer be written, its trades are not kept so long coin=%s id=%s",
                            one.symbol, one.notice_id)
                self._call(self._memory.finish_listing, one.source, one.notice_id, one.symbol, "", 0)
            else:
                self.open(one)
        return len(self._windows)

    def open_windows(self) -> list[dict[str, object]]:
        """Return what a status shows of each window: coin, end_ns, archive."""
        return [{"coin": one.coin, "end_ns": one.end_ns, "archive": str(self._path(one))} for one in self._windows]

    def tick(self) -> list[Archive]:
        """Write the archives that are due and return them. A window that fails is tried again after RETRY_S."""
        self._pace()
        now_ns = self._clock.now_ns()
        return [archive for window in [one for one in self._windows if one.due_ns() <= now_ns]
                if (archive := self._close(window)) is not None]

    def run(self) -> None:
        """Write archives as they become due, until `stop`."""
        while not self._stopped:
            self._wake.clear()
            self.tick()
            due_ns = min((one.due_ns() for one in self._windows), default=None)
            wait_s = None if due_ns is None else (due_ns - self._clock.now_ns()) / NS_PER_S
            self._wake.wait(None if wait_s is None else min(max(wait_s, 0.001), LOOK_S))

    def stop(self) -> None:
        """End `run`. Open windows are left to the next start, which finds their trades in the journal."""
        self._stopped = True
        if self._quick:
            self._quick = False
            self._sweep(False)
        self._wake.set()

    def _pace(self) -> None:
        now_ns = self._clock.now_ns()
        quick = not self._stopped and any(one.end_ns > now_ns for one in self._windows)
        if quick != self._quick:
            self._quick = quick
            self._sweep(quick)
        self._stats.set("listing_windows_open", len(self._windows))

    def _path(self, window: _Window) -> Path:
        return self._dir / archive_name(window.coin, min(one.announced_at_ns for one in window.listings))

    def _close(self, window: _Window) -> Archive | None:
        listings = list(window.listings)
        span = Span(window.coin, listings, list(window.intervals))
        try:
            answers = [self._query(window.coin, start, end) for start, end in span.intervals]
            gaps = [gap for start, end in span.intervals for gap in self._gaps(start, end)]
            batch = TradeBatch.concat([answer.batch for answer in answers])
            parts = [part for answer in answers for part in answer.parts]
            archive = self._writer.apply(write_archive, (self._dir, span, batch, self._catalogue, parts,
                                                         list(dict.fromkeys(gaps))))
            for one in listings:
                self._call(self._memory.finish_listing, one.source, one.notice_id, one.symbol, str(archive.path),
                           archive.trades)
        except (StorageError, ServiceUnavailable) as error:
            window.retry_at_ns = self._clock.now_ns() + int(RETRY_S * NS_PER_S)
            if not self._said_trouble:
                log.warning("the archive must wait coin=%s reason=%s", window.coin, error.message)
            self._said_trouble = True
            return None
        self._said_trouble = False
        problems = sorted({part.problem for part in parts if part.problem})
        if window.listings == listings:  # else a listing joined while we wrote: the wider window is written later
            window.tries += 1
            if not problems or window.tries >= TRIES:
                self._windows.remove(window)
            window.retry_at_ns = self._clock.now_ns() + int(RETRY_S * NS_PER_S)
        self._pace()
        if window.written is not None and window.written.trades == archive.trades:
            return None  # tried again, and nothing came to it
        window.written = archive
        self._say(window, listings, archive, problems)
        return archive

    def _say(self, window: _Window, listings: Sequence[Listing], archive: Archive, problems: Sequence[str]) -> None:
        self._stats.add("listing_archives_total")
        self._stats.add("listing_archived_trades_total", archive.trades)
        log.info("archive %s coin=%s trades=%d path=%s", "kept" if archive.kept else "written", window.coin,
                 archive.trades, archive.path)
        if problems:
            log.warning("the archive may lack trades coin=%s reason=%s", window.coin, "; ".join(problems))
        for one in listings:
            self._publish(one, str(archive.path), archive.trades)
