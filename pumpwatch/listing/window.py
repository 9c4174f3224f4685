"""Manage the windows of listings: open them, wait, query the trades, write the archive, look again.

A listing's window is the time around its announcement and around its detection (one interval if they overlap). Every trade is
stored with or without a window; an open window only makes sockets be read more often. Overlapping windows of one coin on one
board share one archive; two boards have one each. Longer windows extend that archive when they end.

An archive is written when the window's trades should be stored: SETTLE_S after its end, plus the venues' lag and the age of
the oldest trade that waits for the disk. Some trades may come later, so the store is queried again at LOOKS_S after the end,
and the archive is rewritten if anything changed. It is final after the last look at the longest window. An archive that is not
final when the disk fails or the collector stops is continued at the next try or the next start. A coin without a known
instrument is a problem, not an empty result: it is looked for until the last look. An error in one window does not affect
others (see `validation.isolated`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from gevent.event import Event

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import BadFrame, PumpWatchError, StorageError
from pumpwatch.listing.archive import Archive, Pass, Span, free_name
from pumpwatch.listing.archive_swap import recover
from pumpwatch.listing.archive_writer import ArchiveThread, ArchiveWriter
from pumpwatch.listing.context import DoubleNothing, Doubler, Reach, TradeAccess, WindowContext, hasten_nothing, ignore_archive
from pumpwatch.listing.manifest import read_manifest
from pumpwatch.listing.notice_file import ShownSight, seen_of
from pumpwatch.listing.open_window import LOOKS_S, SETTLE_S, OpenWindow, intervals_of, joined
from pumpwatch.listing.publication import Publisher
from pumpwatch.listing.validation import check_listing, isolated
from pumpwatch.listing.window_content import NoSharing, Sharing, WindowContent
from pumpwatch.model import Listing, TradeBatch
from pumpwatch.printable import printable
from pumpwatch.store.listed import ListingRecord

log = logging.getLogger(__name__)

RETRY_S = 10.0
TRIES = 6  # at most this many passes are made because the store's answer was incomplete
SLEEP_MAX_S = 0.25  # the longest sleep while a window is open
SLEEP_MIN_S = 0.02
PREPARE_S = 10.0  # the writer is started this long before an archive is due
STARTING_S = 60.0  # after this time, archives no longer wait for missing instrument lists
NO_INSTRUMENT = "no instrument: none of the venues that are read lists the coin"
GONE = "not written: its trades are no longer kept"
NOT_OPENED = "not opened: "
FAILED = "failed: "


class WindowKeeper:
    """All windows that are not final. `open` and `resume` may be called at any time; `run` is the body of a greenlet.

    hasten(True) requests frequent reading of sockets, hasten(False) ends it. publisher: offers written listings to the sinks.
    doubler: reads the coins of open windows on two connections. writer: writes one archive at a time. on_written: called for each
    listing when its archive is first written, with the reasons why trades may be missing; it must neither block nor raise.
    sharing: joins the parts of other collectors.
    """

    def __init__(self, context: WindowContext, trades: TradeAccess, *, hasten: Callable[[bool], None] = hasten_nothing,
                 publisher: Publisher | None = None, doubler: Doubler | None = None,
                 writer: ArchiveWriter | None = None,
                 on_written: Callable[[Listing, Archive, Sequence[str]], None] = ignore_archive,
                 sharing: Sharing | None = None) -> None:
        self._sharing = sharing or NoSharing()
        self._context, self._trades, self._hasten = context, trades, hasten
        self._clock, self._stats = context.clock, context.stats
        self._publisher = publisher or Publisher({}, context.clock, context.stats)
        self._doubler, self._books = doubler or DoubleNothing(), trades.books
        self._on_written = on_written
        self._doubled: set[str] = set()  # coins
        self._windows: list[OpenWindow] = []
        self._writer = writer or ArchiveThread()
        self._quick = self._stopped = self._resumed = self._trouble_logged = False
        self._starting_until_s = self._clock.monotonic() + STARTING_S
        self._wake = Event()

    def open(self, listing: Listing) -> None:
        """Open a listing's window, or widen the one that it overlaps."""
        window = self._add(listing)
        self._update_pace()
        log.info("window open coin=%s source=%s id=%s for_s=%.1f late=%s drill=%s", listing.symbol, listing.source,
                 printable(listing.notice_id), -window.since_end_s(self._clock.monotonic()), window.late,
                 listing.drill)
        self._wake.set()

    def correct(self, listing: Listing) -> None:
        """Widen the window of a listing that another collector saw earlier, unless it is final."""
        if any(other.key == listing.key and other.detected_at_ns > listing.detected_at_ns
               for window in self._windows for other in window.listings):
            self.open(listing)

    def change_reaches(self, reaches: Sequence[Reach]) -> None:
        """Use these windows for listings seen from now on."""
        self._context = replace(self._context, reaches=reaches)

    def _add(self, listing: Listing) -> OpenWindow:
        window = next((window for window in self._windows if window.overlaps(listing)), None)
        if window is None:
            window = OpenWindow(listing.symbol, listing.board, self._context.reaches, self._context.fresh_s)
            self._windows.append(window)
        if not window.has(listing):
            window.add(listing, self._clock.now_ns(), self._clock.monotonic())
            self._path(window)  # chosen now: of two boards, the one seen first gets the plain name
        return window

    def resume(self, retention_s: float) -> int:
        """Continue the windows that an earlier run left unfinished, while their trades are kept; return their number."""
        oldest_ns = self._clock.now_ns() - int(retention_s * NS_PER_S)
        records = self._context.ledger.listings()
        for record in records:  # written ones first, so that a listing without an archive joins a written window it overlaps
            if record.trades is not None and record.archive \
                    and record.listing.detected_at_ns + self._reach_ns() >= oldest_ns:
                isolated(partial(self._resume_written, record), partial(self._not_resumed, record))
        for record in records:
            if record.trades is None:
                isolated(partial(self._resume_open, record.listing, oldest_ns), partial(self._give_up, record.listing))
        return len(self._windows)

    def _reach_ns(self) -> int:
        return int((self._context.reaches[-1].after_s + LOOKS_S[-1]) * NS_PER_S)

    def _resume_open(self, listing: Listing, oldest_ns: int) -> None:
        check_listing(listing, max(self._clock.now_ns(), listing.detected_at_ns))  # an older version validated less
        if intervals_of([listing], self._context.reaches[-1])[-1][1] < oldest_ns:
            log.warning("window given up coin=%s id=%s reason=its trades are no longer kept", listing.symbol,
                        printable(listing.notice_id))
            self._context.ledger.finish_listing(listing, "", 0, GONE)
        else:
            self.open(listing)

    def _not_resumed(self, record: ListingRecord, error: Exception) -> None:
        """Log that an archive cannot be continued. The ledger keeps the listing, so the next start tries again."""
        log.warning("archive not continued coin=%s path=%s reason=%s", printable(record.listing.symbol),
                    printable(record.archive), printable(f"{type(error).__name__}: {error}"))

    def _resume_written(self, record: ListingRecord) -> None:
        """Continue a written archive: its later looks, and its publication to sinks that have not accepted the listing."""
        path = Path(record.archive)
        recover(path)
        manifest = read_manifest(path)
        if manifest is None or (manifest.final and not manifest.unpublished):
            return
        check_listing(record.listing, max(self._clock.now_ns(), record.listing.detected_at_ns))
        self._publisher.resume(record.listing, path, manifest.trades, manifest.unpublished)
        if manifest.final:
            return
        window = self._add(record.listing)
        window.name = path.name
        window.continue_with(Archive(path, manifest.trades), manifest.window)
        made_ns = manifest.passes[-1].at_ns if manifest.passes else window.end_ns
        ago_s = max(0.0, (self._clock.now_ns() - made_ns) / NS_PER_S)
        look_s = window.next_look_s(self._clock.monotonic() - ago_s)
        window.next_s = look_s if look_s is not None else self._clock.monotonic()
        log.info("archive not final yet coin=%s next_look_s=%.0f", window.coin, window.next_s - self._clock.monotonic())

    def _give_up(self, listing: Listing, error: Exception) -> None:
        """Record that a listing gets no archive, with the reason."""
        reason = error.message if isinstance(error, PumpWatchError) else f"{type(error).__name__}: {error}"
        log.warning("listing given up source=%s id=%s coin=%s reason=%s", printable(listing.source),
                    printable(listing.notice_id), printable(listing.symbol), printable(reason))
        self._context.ledger.finish_listing(
            listing, "", 0, (NOT_OPENED if isinstance(error, BadFrame) else FAILED) + reason)

    def open_windows(self) -> list[dict[str, object]]:
        """Return the status rows of windows without a written archive: coin, end_ns, archive."""
        return [{"coin": window.coin, "end_ns": window.end_ns, "archive": str(self._path(window))}
                for window in self._windows if window.written is None]

    def coins(self) -> list[str]:
        """Return the coins of the windows whose archives are not final, the oldest window first."""
        return list(dict.fromkeys(window.coin for window in sorted(self._windows, key=lambda window: window.end_ns)))

    def not_final(self) -> int:
        """Return how many archives are written and not final yet."""
        return sum(window.written is not None for window in self._windows)

    def tick(self) -> list[Archive]:
        """Write the due archives and return them. A window that fails is retried after RETRY_S."""
        self._update_pace()
        done: list[Archive] = []
        for window in list(self._windows):
            isolated(partial(self._tick_window, window, done), partial(self._failed, window))
        if not self._stopped:
            self._publisher.retry()
        return done

    def _tick_window(self, window: OpenWindow, done: list[Archive]) -> None:
        if self._due(window) and (archive := self._close(window)) is not None:
            done.append(archive)

    def _due(self, window: OpenWindow) -> bool:
        now_s = self._clock.monotonic()
        window.grow(now_s)
        if self._stopped or now_s < window.next_s or self._context.paused():
            return False
        unlisted = now_s < self._starting_until_s and bool(self._trades.unlisted())
        if window.complete:
            return not unlisted
        if window.since_end_s(now_s) < SETTLE_S:
            return False
        return window.ready(now_s, sum(self._trades.behind(window.coin)), unlisted) and not (
            window.written is None and self._sharing.waits(window.listings))

    def run(self, retention_s: float | None = None) -> None:
        """Write archives as they become due, until `stop`; first continue the unfinished ones, once."""
        while not self._stopped:
            self._wake.clear()
            try:
                if retention_s is not None and not self._resumed:
                    self.resume(retention_s)
                    self._resumed = True
                self.tick()
            except StorageError as error:
                self._log_waiting("", error)
            now_s = self._clock.monotonic()
            waits = [window.due_s - now_s for window in self._windows]
            if self._publisher.waiting():
                waits.append(self._publisher.next_s - now_s)
            idle_s = None if self._resumed or retention_s is None else RETRY_S
            self._wake.wait(min(max(min(waits), SLEEP_MIN_S), SLEEP_MAX_S) if waits else idle_s)

    def stop(self) -> None:
        """End `run`. Archives that are not final are left to the next start, which finds the trades in the journal."""
        self._stopped = True
        self._writer.close()
        if self._quick:
            self._quick = False
            self._hasten(False)
        self._wake.set()

    def _update_pace(self) -> None:
        now_s = self._clock.monotonic()
        quick = not self._stopped and any(window.quick_at(now_s) for window in self._windows)
        if quick != self._quick:
            self._quick = quick
            self._hasten(quick)
        coins = {window.coin for window in self._windows if not self._stopped and now_s < window.last_end_s + SETTLE_S}
        coins, self._doubled = self._doubled, coins
        for coin in self._doubled - coins:
            self._doubler.double(coin)
            self._books.begin(coin)
        for coin in coins - self._doubled:
            self._doubler.release(coin)
            self._books.end(coin)
        self._books.keep({window.coin for window in self._windows})
        self._stats.set("listing_windows_open", len(self.open_windows()))
        if any(window.due_s - now_s < PREPARE_S for window in self._windows) and not self._stopped:
            self._writer.prepare()
        else:
            self._writer.rest()

    def _path(self, window: OpenWindow) -> Path:
        if not window.name:
            others = {other.name for other in self._windows if other is not window and other.board != window.board}
            announced_at_ns = min(listing.announced_at_ns for listing in window.listings)
            window.name = free_name(self._context.archive_dir, window.coin, announced_at_ns, window.board, others, window.drill)
        return self._context.archive_dir / window.name

    def _seen(self, window: OpenWindow, listings: Sequence[Listing]) -> Sequence[ShownSight]:
        """Return the sights of a window's listings; those read last if the ledger cannot be read."""
        with suppress(StorageError):  # the archive is written without new ones
            window.seen = seen_of(self._context.ledger, listings)
        return window.seen

    def _close(self, window: OpenWindow) -> Archive | None:
        """Query, write, and plan the next pass; return the archive if it has new trades."""
        listings = list(window.listings)
        span = Span(window.coin, listings, list(window.intervals), window.late, self._path(window).name,
                    self._seen(window, listings))
        known = bool(self._context.catalogue.matching(window.coin))
        unlisted = list(self._trades.unlisted())
        missing = [f"no instrument list yet from {venue}" for venue in unlisted]
        now_s = self._clock.monotonic()
        if not known and not self._waited_enough(window, now_s, bool(missing)):
            if not window.tries:
                log.warning("archive waits coin=%s reason=no instrument of the coin is known yet", window.coin)
            window.tries, window.next_s = 1, now_s + RETRY_S
            return None
        try:
            content = self._content(window, span, unlisted, [*([] if known else [NO_INSTRUMENT]), *missing])
            incomplete = any(part.problem for part in content.parts)
            final = self._is_final(window, now_s, incomplete)
            content = self._sharing.join(content, self._path(window), final)
            problems = content.problems
            known = known or bool(content.members and content.catalogue.matching(window.coin))
            made = Pass(self._clock.now_ns(), final, problems, self._publisher.sinks if known else None, content.unlisted,
                        content.books, only_changes=True, made_by=content.made_by, members=content.members)
            archive = self._writer.write(self._context.archive_dir, content.span, content.batch, content.catalogue, content.parts,
                                         content.gaps, made)
            known = known or archive.trades > 0  # of an earlier pass, although no instrument is known now
            for listing in listings:
                self._context.ledger.finish_listing(listing, str(archive.path), archive.trades, "" if known else NO_INSTRUMENT)
        except PumpWatchError as error:
            window.next_s = self._clock.monotonic() + RETRY_S
            self._log_waiting(window.coin, error)
            return None
        self._trouble_logged = False
        before = window.written
        if window.listings == span.listings:  # else a listing joined meanwhile, and the wider window is written later
            window.covered = joined((*window.covered, *span.intervals))
            self._plan(window, now_s, archive, incomplete, final)
        self._update_pace()
        if before is not None and before.trades == archive.trades:
            return None  # looked again, and no trade was added
        self._announce(window.coin, listings, archive, problems, known)
        for listing in listings if before is None else ():
            self._on_written(listing, archive, problems)
        return archive

    def _content(self, window: OpenWindow, span: Span, unlisted: Sequence[str], problems: Sequence[str]) -> WindowContent:
        """Query this collector's data of a window. Raises ServiceUnavailable and StorageError."""
        answers = [self._trades.query(window.coin, start if number else span.query_from_ns, end)
                   for number, (start, end) in enumerate(span.intervals)]
        parts = [part for answer in answers for part in answer.parts]
        return WindowContent(
            span=span, batch=TradeBatch.concat([answer.batch for answer in answers]), catalogue=self._context.catalogue,
            parts=parts, gaps=[gap for start, end in span.intervals for gap in self._trades.gaps(start, end)], unlisted=unlisted,
            books=self._books.recorded(window.coin, span.intervals),
            problems=[*problems, *sorted({part.problem for part in parts if part.problem})])

    def look_again(self, listings: Sequence[Listing], path: Path) -> None:
        """Query a written window once more, even if its archive is final."""
        window = next((window for window in self._windows if window.name == path.name), None)
        if window is None:
            manifest = read_manifest(path)
            if manifest is None:
                return
            for listing in listings:
                window = self._add(listing)
            assert window is not None
            window.name = path.name
            window.continue_with(Archive(path, manifest.trades), manifest.window)
        if window.written is not None:
            window.next_s = min(window.next_s, self._clock.monotonic())
            self._wake.set()

    def _waited_enough(self, window: OpenWindow, now_s: float, missing: bool) -> bool:
        """Return whether to stop waiting for a coin without a known instrument."""
        waited_s = now_s - window.added_s
        return window.since_end_s(now_s) >= LOOKS_S[-1] and (not missing or waited_s >= LOOKS_S[-1])

    def _is_final(self, window: OpenWindow, now_s: float, incomplete: bool) -> bool:
        """Return whether a pass now would be the last: no look follows, and no trade of the window waits for the disk."""
        if window.next_look_s(now_s) is not None or (incomplete and window.tries + 1 < TRIES):
            return False
        return self._trades.behind(window.coin)[1] < window.since_end_s(now_s)

    def _plan(self, window: OpenWindow, now_s: float, archive: Archive, incomplete: bool, final: bool) -> None:
        window.tries += 1
        window.failures = 0
        if final:
            self._windows.remove(window)
            log.info("archive final coin=%s trades=%d path=%s", window.coin, archive.trades, archive.path)
            return
        look_s = window.next_look_s(now_s)
        retry_s = now_s + RETRY_S if look_s is None or (incomplete and window.tries < TRIES) else float("inf")
        window.written, window.complete = archive, True
        window.next_s = min(retry_s, look_s if look_s is not None else float("inf"))

    def _failed(self, window: OpenWindow, error: Exception) -> None:
        """Retry a window after an unexpected error; give it up after TRIES failures. Other windows continue."""
        window.failures += 1
        window.next_s = self._clock.monotonic() + RETRY_S
        if window.failures == 1:
            log.error("window failed coin=%s reason=%s: it is retried", window.coin,
                      printable(f"{type(error).__name__}: {error}"), exc_info=error)
        if window.failures >= TRIES and window in self._windows:
            self._windows.remove(window)
            if window.written is None:
                for listing in window.listings:
                    self._give_up(listing, error)

    def _log_waiting(self, coin: str, error: PumpWatchError) -> None:
        if not self._trouble_logged:
            log.warning("archive waits coin=%s reason=%s", coin or "all", printable(error.message))
        self._trouble_logged = True

    def _announce(self, coin: str, listings: Sequence[Listing], archive: Archive, problems: Sequence[str],
                  known: bool) -> None:
        """Log and count an archive; publish its listings."""
        if not known:
            log.warning("archive is empty coin=%s reason=%s", coin, NO_INSTRUMENT)
            self._stats.add("listing_problems_total")
            return
        self._stats.add("listing_archives_total")
        self._stats.add("listing_archived_trades_total", archive.added)
        log.info("archive %s coin=%s trades=%d added=%d path=%s", "kept" if archive.kept else "written", coin,
                 archive.trades, archive.added, archive.path)
        if problems:
            log.warning("archive may be incomplete coin=%s reason=%s", coin, printable("; ".join(problems)))
        for listing in listings:
            self._publisher.publish(listing, archive.path, archive.trades, last=listing is listings[-1])
