"""Find new listings on a notice board, each of them once.

A listing is the first sight of a notice whose title opens a KRW market and whose first publication is fresh. What the
very first poll of a source shows is remembered and not announced; after a restart, what appeared while we were down is
announced if it is still fresh. An edit (another title or time on a known notice) is logged with its remarks, and never
a new listing. A listing is durable before anyone acts on it, so a crash neither loses nor repeats one: what
was remembered and not finished is taken up again by `window` at the next start.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import ServiceUnavailable, StorageError
from pumpwatch.hookspecs import ListingSource, Verdict
from pumpwatch.listing.board import JITTER, Board, Fetch
from pumpwatch.listing.memory import Call, ListingMemory, call_here
from pumpwatch.model import Listing, Notice
from pumpwatch.net.texts import masked
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

OnListing = Callable[[Listing], None]


class Watch:
    """One listing source. `poll` does one look; `schedule` has APScheduler repeat it.

    url and interval_s override the source's own. on_listing is called once a coin, in the order of the title.
    call runs the memory's blocking methods where they may block.
    """

    def __init__(self, source: ListingSource, fetch: Fetch, memory: ListingMemory, clock: Clock, stats: Stats,
                 on_listing: OnListing, *, url: str = "", interval_s: float = 0.0, fresh_s: float = 600.0,
                 call: Call = call_here) -> None:
        self.source = source
        self.interval_s = interval_s or source.interval_s
        self.up: bool | None = None  # None until the first answer or failure
        self._board = Board(source, fetch, clock, url)
        self._memory, self._clock, self._stats, self._call = memory, clock, stats, call
        self._on_listing, self._fresh_ns = on_listing, int(fresh_s * NS_PER_S)
        self._known: dict[str, str] = {}  # notice id -> revision, of the rows last shown
        self._begun = False
        self._since_ns = clock.now_ns()
        self._reason = ""

    def schedule(self, scheduler: Any) -> None:
        """Have an APScheduler poll at once and from now on, with a jitter of a tenth of the interval."""
        scheduler.add_job(self.poll, "interval", seconds=self.interval_s, jitter=self.interval_s * JITTER,
                          next_run_time=datetime.now(UTC),
                          id=f"listing.{self.source.name}", max_instances=1, coalesce=True, misfire_grace_time=None)

    def poll(self) -> None:
        """Look once, unless the board is to be left alone. Never raises for the board's or the disk's sake."""
        if not self._board.due():
            return
        try:
            rows = self._board.read()
        except ServiceUnavailable as error:
            self._count("failed")
            self._say_down(error.message)
            return
        self._count("unchanged" if rows is None else "read")
        self._stats.set("listing_answered_at_ns", self._clock.now_ns(), source=self.source.name)
        if rows is not None:
            try:
                self._take(rows)
            except StorageError as error:
                self._say_down(f"nothing can be remembered: {error.message}")
                return
        self._board.taken()
        self._say_up()

    def _take(self, rows: list[Notice]) -> None:
        detected_at_ns = self._clock.now_ns()
        seeding = not self._begun and self._call(self._memory.notice_count, self.source.name) == 0
        shown: dict[str, str] = {}
        for notice in rows:
            revision = revision_of(notice)
            shown[notice.notice_id] = revision
            if self._known.get(notice.notice_id) == revision:
                continue
            before = self._call(self._memory.seen_notice, self.source.name, notice.notice_id)
            if before is None:
                self._first_sight(notice, revision, detected_at_ns, seeding)
            elif before != revision:
                self._edited(notice, revision)
        self._known, self._begun = shown, True
        if seeding:
            log.info("first look at source=%s: %d notices remembered, none announced", self.source.name, len(rows))

    def _first_sight(self, notice: Notice, revision: str, detected_at_ns: int, seeding: bool) -> None:
        verdict = self.source.verdict(notice.title)
        self._stats.add("listing_notices_total", source=self.source.name, kind=verdict.kind)
        listings: list[Listing] = []
        if verdict.kind == "krw_listing" and not seeding:
            age_ns = detected_at_ns - notice.published_at_ns
            if age_ns > self._fresh_ns:
                log.info("listing too old to act on source=%s id=%s age_s=%d title=%r", self.source.name,
                         notice.notice_id, age_ns // NS_PER_S, notice.title)
            else:
                listings = self._listings(notice, verdict, detected_at_ns)
        for listing in listings:
            if not self._call(self._memory.remember_listing, listing):
                continue
            log.info("listing source=%s id=%s coin=%s after_s=%.1f needs_body=%s title=%r", listing.source,
                     listing.notice_id, listing.symbol, (detected_at_ns - listing.announced_at_ns) / NS_PER_S,
                     listing.needs_body, listing.title)
            self._stats.add("listing_detected_total", source=self.source.name)
            self._on_listing(listing)
        self._call(self._memory.remember_notice, notice, verdict.kind, revision)

    def _listings(self, notice: Notice, verdict: Verdict, detected_at_ns: int) -> list[Listing]:
        if not verdict.symbols:
            log.warning("a listing whose coin the title does not name source=%s id=%s url=%s title=%r",
                        self.source.name, notice.notice_id, notice.url, notice.title)
        return [Listing(source=self.source.name, notice_id=notice.notice_id, symbol=symbol, title=notice.title,
                        announced_at_ns=notice.published_at_ns, detected_at_ns=detected_at_ns,
                        triggered_at_ns=self._clock.now_ns(), needs_body=verdict.needs_body)
                for symbol in verdict.symbols]

    def _edited(self, notice: Notice, revision: str) -> None:
        verdict = self.source.verdict(notice.title)
        self._call(self._memory.remember_notice, notice, verdict.kind, revision)
        self._stats.add("listing_updates_total", source=self.source.name)
        log.info("updated source=%s id=%s kind=%s remarks=%s title=%r", self.source.name, notice.notice_id,
                 verdict.kind, ",".join(verdict.notes) or "none", notice.title)

    def _count(self, outcome: str) -> None:
        self._stats.add("listing_polls_total", source=self.source.name, outcome=outcome)

    def _say_down(self, reason: str) -> None:
        self._reason = reason
        if self.up is not False:
            self.up, self._since_ns = False, self._clock.now_ns()
            self._stats.set("listing_source_up", 0, source=self.source.name)
            log.warning("listing source down source=%s reason=%s", self.source.name, reason)

    def _say_up(self) -> None:
        if self.up is not True:
            now_ns = self._clock.now_ns()
            if self.up is False:
                log.info("listing source up again source=%s after_s=%.0f url=%s", self.source.name,
                         (now_ns - self._since_ns) / NS_PER_S, masked(self._board.url))
            self.up, self._since_ns, self._reason = True, now_ns, ""
            self._stats.set("listing_source_up", 1, source=self.source.name)

    def state(self) -> dict[str, Any]:
        """Return what a status shows: up (None before the first poll), since_ns, reason, url, rest_s."""
        return {"source": self.source.name, "up": self.up, "since_ns": self._since_ns, "reason": self._reason,
                "url": masked(self._board.url), "rest_s": round(self._board.rest_s(), 1)}


def revision_of(notice: Notice) -> str:
    """Return what changes when a notice is edited."""
    return hashlib.sha256(f"{notice.updated_at_ns}\n{notice.title}".encode()).hexdigest()[:16]
