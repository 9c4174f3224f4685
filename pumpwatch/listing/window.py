"""Keep the windows of listings: open, wait, ask the store for the trades, write the archive, look again.

A listing's window is the `window_s` before and after its announcement, and the same around its detection (one interval
where they meet). Recording never depends on it, since every trade is stored anyway; while a window is open, the
sockets are only read more often. Windows of one coin that meet become one archive.

An archive is written when what happened in the window should be stored: after its end by SETTLE_S, the venues' lag and the
age of the oldest trade that waits for the disk. That may be too early for some trades, so the store is asked again LOOKS_S
after the end, and the archive is written again with what has come; after the last look it is final. What is not final
when the collector stops, or when the disk refuses, is taken up again: at the next try, or at the next start from the
journal. A coin of which no instrument is known is a problem, not an answer: it is looked for until the last look.
Each window is guarded by itself (see `border.alone`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from gevent.event import Event
from gevent.threadpool import ThreadPool

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import BadFrame, PumpWatchError, StorageError
from pumpwatch.listing.archive import Archive, Part, Pass, Span, archive_name, write_archive
from pumpwatch.listing.border import alone, check_listing
from pumpwatch.listing.manifest import read_manifest
from pumpwatch.listing.memory import Call, ListingMemory, Remembered, call_here
from pumpwatch.listing.open_window import LOOKS_S, SETTLE_S, OpenWindow, intervals_of
from pumpwatch.model import Gap, Listing, TradeBatch
from pumpwatch.printable import printable
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

RETRY_S = 10.0
TRIES = 6  # an archive for which some part of the store could not give all is written, and so often written again
LOOK_S = 0.25  # the longest sleep between two looks at the clock while a window is open
PAUSE_S = 0.02  # the shortest
STARTING_S = 60.0  # a venue whose instrument list has not come by then is not waited for
NO_INSTRUMENT = "no instrument: no venue that is read lists the coin"
GONE = "not written: its trades are not kept so long"
NO_LISTING = "not opened: "
FAILED = "failed: "


class Answer(Protocol):
    """What a query for a coin's trades returns."""

    @property
    def batch(self) -> TradeBatch: ...
    @property
    def parts(self) -> Sequence[Part]: ...


Query = Callable[[str, int, int], Answer]  # coin, from, to (ns); may raise ServiceUnavailable or StorageError
Gaps = Callable[[int, int], Sequence[Gap]]  # from, to: known gaps that overlap
Publish = Callable[[Listing, str, int], None]  # listing, archive, trades: tells the sinks
Behind = Callable[[str], tuple[float, float]]  # coin: its venues' lag, and the age of the oldest trade not yet stored (s)
Unlisted = Callable[[], Sequence[str]]  # the venues whose instrument list has not come yet


def no_gaps(start_ns: int, end_ns: int) -> Sequence[Gap]:
    """Know of no gap."""
    return ()


def publish_nowhere(listing: Listing, archive: str, trades: int) -> None:
    """Tell nobody."""


def sweep_nothing(quick: bool) -> None:
    """Have no sockets to read."""


def never_behind(coin: str) -> tuple[float, float]:
    """Have every trade stored at once."""
    return 0.0, 0.0


def all_listed() -> Sequence[str]:
    """Have every instrument list."""
    return ()


class WindowKeeper:
    """Every window that is not final. `open` and `resume` may be called at any time; `run` is the greenlet's body.

    query answers with a coin's trades; gaps with the known gaps; sweep(True) asks for quick reading and sweep(False)
    ends it; publish tells the sinks of a written listing; behind and unlisted say whether the store has all of a window
    yet. call runs the memory's blocking methods.
    """

    def __init__(self, query: Query, catalogue: Catalogue, memory: ListingMemory, clock: Clock, stats: Stats,
                 archive_dir: Path, *, window_s: float = 20.0, fresh_s: float = 600.0, gaps: Gaps = no_gaps,
                 sweep: Callable[[bool], None] = sweep_nothing, publish: Publish = publish_nowhere,
                 behind: Behind = never_behind, unlisted: Unlisted = all_listed, call: Call = call_here) -> None:
        self._query, self._catalogue, self._memory, self._clock, self._stats = query, catalogue, memory, clock, stats
        self._dir, self._window_s, self._fresh_s, self._gaps = archive_dir, window_s, fresh_s, gaps
        self._sweep, self._publish, self._call = sweep, publish, call
        self._behind, self._unlisted = behind, unlisted
        self._windows: list[OpenWindow] = []
        self._writer = ThreadPool(1)
        self._quick = self._stopped = self._resumed = self._said_trouble = False
        self._starting_until_s = clock.monotonic() + STARTING_S
        self._wake = Event()

    def open(self, listing: Listing) -> None:
        """Open a listing's window, or widen the one that it meets."""
        window = self._add(listing)
        self._pace()
        log.info("window open coin=%s source=%s id=%s until_s=%.1f late=%s", listing.symbol, listing.source,
                 printable(listing.notice_id), -window.since_end_s(self._clock.monotonic()), window.late)
        self._wake.set()

    def _add(self, listing: Listing) -> OpenWindow:
        window = next((one for one in self._windows if one.meets(listing)), None)
        if window is None:
            window = OpenWindow(listing.symbol, self._window_s, self._fresh_s)
            self._windows.append(window)
        if listing not in window.listings:
            window.add(listing, self._clock.now_ns(), self._clock.monotonic())
        return window

    def resume(self, retention_s: float) -> int:
        """Take up what an earlier run left unfinished, as far back as trades are kept; return how many windows."""
        oldest_ns = self._clock.now_ns() - int(retention_s * NS_PER_S)
        remembered: Sequence[Remembered] = self._call(self._memory.listings)
        for record in remembered:  # first these, so that a listing which is not written yet has its window written again
            if record.trades is not None and record.archive \
                    and record.listing.detected_at_ns + self._reach_ns() >= oldest_ns:
                alone(partial(self._look_again, record), partial(self._leave, record.listing))
        for record in remembered:
            if record.trades is None:
                alone(partial(self._resume, record.listing, oldest_ns), partial(self._leave, record.listing))
        return len(self._windows)

    def _reach_ns(self) -> int:
        return int((self._window_s + LOOKS_S[-1]) * NS_PER_S)

    def _resume(self, one: Listing, oldest_ns: int) -> None:
        check_listing(one, max(self._clock.now_ns(), one.detected_at_ns))  # an older version let more pass
        if intervals_of([one], self._window_s)[-1][1] < oldest_ns:
            log.warning("a window can no longer be written, its trades are not kept so long coin=%s id=%s",
                        one.symbol, printable(one.notice_id))
            self._finish(one, "", 0, GONE)
        else:
            self.open(one)

    def _look_again(self, record: Remembered) -> None:
        """Take up an archive that was written and is not final."""
        manifest = read_manifest(Path(record.archive))
        if manifest is None or manifest.final:
            return
        check_listing(record.listing, max(self._clock.now_ns(), record.listing.detected_at_ns))
        window = self._add(record.listing)
        made_ns = manifest.passes[-1].at_ns if manifest.passes else window.end_ns
        ago_s = max(0.0, (self._clock.now_ns() - made_ns) / NS_PER_S)
        window.written = Archive(Path(record.archive), manifest.trades)
        look_s = window.next_look_s(self._clock.monotonic() - ago_s)
        window.next_s = look_s if look_s is not None else self._clock.monotonic()
        log.info("archive is not final yet, it is looked at again coin=%s in_s=%.0f", window.coin,
                 window.next_s - self._clock.monotonic())

    def _leave(self, one: Listing, error: Exception) -> None:
        """Give up a listing of which nothing can be made."""
        reason = error.message if isinstance(error, PumpWatchError) else f"{type(error).__name__}: {error}"
        log.warning("a listing is left out source=%s id=%s coin=%s reason=%s", printable(one.source),
                    printable(one.notice_id), printable(one.symbol), printable(reason))
        self._finish(one, "", 0, (NO_LISTING if isinstance(error, BadFrame) else FAILED) + reason)

    def open_windows(self) -> list[dict[str, object]]:
        """Return what a status shows of each window whose archive is not written yet: coin, end_ns, archive."""
        return [{"coin": one.coin, "end_ns": one.end_ns, "archive": str(self._path(one))}
                for one in self._windows if one.written is None]

    def looked_at(self) -> int:
        """Return how many archives are written and not final yet."""
        return sum(one.written is not None for one in self._windows)

    def tick(self) -> list[Archive]:
        """Write the archives that are due and return them. A window that fails is tried again after RETRY_S."""
        self._pace()
        done: list[Archive] = []
        for window in list(self._windows):
            alone(partial(self._turn, window, done), partial(self._failed, window))
        return done

    def _turn(self, window: OpenWindow, done: list[Archive]) -> None:
        if self._due(window) and (archive := self._close(window)) is not None:
            done.append(archive)

    def _due(self, window: OpenWindow) -> bool:
        now_s = self._clock.monotonic()
        if self._stopped or now_s < window.next_s:
            return False
        waiting = now_s < self._starting_until_s and bool(self._unlisted())
        if window.written is not None:
            return not waiting
        if window.since_end_s(now_s) < SETTLE_S:
            return False
        return window.settled(now_s, sum(self._behind(window.coin)), waiting)

    def run(self, retention_s: float | None = None) -> None:
        """Write archives as they become due, until `stop`; first, once, take up what was left unfinished."""
        while not self._stopped:
            self._wake.clear()
            try:
                if retention_s is not None and not self._resumed:
                    self.resume(retention_s)
                    self._resumed = True
                self.tick()
            except StorageError as error:
                self._must_wait("", error)
            now_s = self._clock.monotonic()
            waits = [max(one.next_s, one.end_s + SETTLE_S) - now_s for one in self._windows]
            idle_s = None if self._resumed or retention_s is None else RETRY_S
            self._wake.wait(min(max(min(waits), PAUSE_S), LOOK_S) if waits else idle_s)

    def stop(self) -> None:
        """End `run`. What is not final is left to the next start, which finds the trades in the journal."""
        self._stopped = True
        if self._quick:
            self._quick = False
            self._sweep(False)
        self._wake.set()

    def _pace(self) -> None:
        now_s = self._clock.monotonic()
        quick = not self._stopped and any(one.quick_at(now_s) for one in self._windows)
        if quick != self._quick:
            self._quick = quick
            self._sweep(quick)
        self._stats.set("listing_windows_open", len(self.open_windows()))

    def _path(self, window: OpenWindow) -> Path:
        return self._dir / archive_name(window.coin, min(one.announced_at_ns for one in window.listings))

    def _close(self, window: OpenWindow) -> Archive | None:
        """Ask, write, and plan the next pass; return the archive where something is new in it."""
        listings = list(window.listings)
        span = Span(window.coin, listings, list(window.intervals), window.late)
        known = bool(self._catalogue.matching(window.coin))
        missing = [f"no instrument list yet of {venue}" for venue in self._unlisted()]
        now_s = self._clock.monotonic()
        if not known and not self._given_up(window, now_s, bool(missing)):
            if not window.tries:
                log.warning("the archive must wait coin=%s reason=no instrument of it is known yet", window.coin)
            window.tries, window.next_s = 1, now_s + RETRY_S
            return None
        try:
            answers = [self._query(window.coin, start, end) for start, end in span.intervals]
            gaps = [gap for start, end in span.intervals for gap in self._gaps(start, end)]
            parts = [part for answer in answers for part in answer.parts]
            sick = sorted({part.problem for part in parts if part.problem})
            problems = [*([] if known else [NO_INSTRUMENT]), *missing, *sick]
            final = self._is_final(window, now_s, bool(sick))
            archive = self._writer.apply(write_archive, (
                self._dir, span, TradeBatch.concat([answer.batch for answer in answers]), self._catalogue, parts,
                list(dict.fromkeys(gaps)), Pass(self._clock.now_ns(), final, problems)))
            known = known or archive.trades > 0  # the instruments of one written before may be gone
            for one in listings:
                self._finish(one, str(archive.path), archive.trades, "" if known else NO_INSTRUMENT)
        except PumpWatchError as error:
            window.next_s = self._clock.monotonic() + RETRY_S
            self._must_wait(window.coin, error)
            return None
        self._said_trouble = False
        before = window.written
        if window.listings == listings:  # else a listing joined while we wrote: the wider window is written later
            self._plan(window, now_s, archive, bool(sick), final)
        self._pace()
        if before is not None and before.trades == archive.trades:
            return None  # looked again, and nothing came to it
        self._say(window.coin, listings, archive, problems, known)
        return archive

    def _given_up(self, window: OpenWindow, now_s: float, missing: bool) -> bool:
        """Return whether a coin of which no instrument is known has been waited for long enough."""
        waited_s = now_s - window.added_s
        return window.since_end_s(now_s) >= LOOKS_S[-1] and (not missing or waited_s >= LOOKS_S[-1])

    def _is_final(self, window: OpenWindow, now_s: float, sick: bool) -> bool:
        """Return whether the pass made now is the last: no look is to come, and no trade of the window waits for the disk."""
        if window.next_look_s(now_s) is not None or (sick and window.tries + 1 < TRIES):
            return False
        return self._behind(window.coin)[1] < window.since_end_s(now_s)

    def _plan(self, window: OpenWindow, now_s: float, archive: Archive, sick: bool, final: bool) -> None:
        window.tries += 1
        window.failures = 0
        if final:
            self._windows.remove(window)
            log.info("archive final coin=%s trades=%d path=%s", window.coin, archive.trades, archive.path)
            return
        look_s = window.next_look_s(now_s)
        retry_s = now_s + RETRY_S if look_s is None or (sick and window.tries < TRIES) else float("inf")
        window.written, window.next_s = archive, min(retry_s, look_s if look_s is not None else float("inf"))

    def _failed(self, window: OpenWindow, error: Exception) -> None:
        """Try a window again that failed for a reason nobody thought of, and give it up in the end; the others go on."""
        window.failures += 1
        window.next_s = self._clock.monotonic() + RETRY_S
        if window.failures == 1:
            log.error("a window failed, it is tried again coin=%s reason=%s", window.coin,
                      printable(f"{type(error).__name__}: {error}"), exc_info=error)
        if window.failures >= TRIES and window in self._windows:
            self._windows.remove(window)
            if window.written is None:
                for one in window.listings:
                    self._leave(one, error)

    def _finish(self, one: Listing, archive: str, trades: int, problem: str) -> None:
        self._call(self._memory.finish_listing, one.source, one.notice_id, one.symbol, archive, trades, problem)

    def _must_wait(self, coin: str, error: PumpWatchError) -> None:
        if not self._said_trouble:
            log.warning("the archive must wait coin=%s reason=%s", coin, printable(error.message))
        self._said_trouble = True

    def _say(self, coin: str, listings: Sequence[Listing], archive: Archive, problems: Sequence[str],
             known: bool) -> None:
        if not known:
            log.warning("no archive to rely on coin=%s reason=%s", coin, NO_INSTRUMENT)
            self._stats.add("listing_problems_total")
            return
        self._stats.add("listing_archives_total")
        self._stats.add("listing_archived_trades_total", archive.added)
        log.info("archive %s coin=%s trades=%d added=%d path=%s", "kept" if archive.kept else "written", coin,
                 archive.trades, archive.added, archive.path)
        if problems:
            log.warning("the archive may lack trades coin=%s reason=%s", coin, printable("; ".join(problems)))
        for one in listings:
            alone(partial(self._publish, one, str(archive.path), archive.trades), partial(self._not_published, one))

    def _not_published(self, one: Listing, error: Exception) -> None:
        log.warning("a listing is not published coin=%s reason=%s", one.symbol,
                    printable(f"{type(error).__name__}: {error}"))
