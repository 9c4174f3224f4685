"""Find new listings on a notice board, each of them once.

A listing is the first sight of a notice whose title opens a KRW market. What the very first look at a source shows is
remembered and not announced; after a restart, what appeared while we were down is announced, as late if it is no longer
fresh. An edit (another title or time on a known notice) is logged with its remarks, and never a new listing. Every row
passes the border first; a row that fails, and one whose handling fails, costs no other.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import BadFrame, ServiceUnavailable, StorageError
from pumpwatch.hookspecs import ListingSource
from pumpwatch.listing.board_client import JITTER, BoardClient, Fetch
from pumpwatch.listing.border import Bad, Judged, NoticeRows, alone, shown, verdict_of
from pumpwatch.listing.memory import Call, ListingMemory, call_here
from pumpwatch.listing.quarantine import Quarantine, Record, record_nothing
from pumpwatch.listing.register import KEPT_S, OnListing, Register
from pumpwatch.model import Listing, Notice
from pumpwatch.net.texts import masked
from pumpwatch.printable import printable
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

CHUNK = 500  # rows that are looked up, and remembered, together
LONGEST_LOOK_S = 120.0
LINES = 20  # in the log, of one look; the rest is counted
UNJUDGED = Judged("other", (), False, (), ())
REMEMBERED = 100_000  # notices of a source; the oldest are forgotten


class Watch:
    """One listing source. `poll` does one look; `schedule` has APScheduler repeat it.

    url and interval_s override the source's own. on_listing is called once for each coin that gets a window, in the order
    of the title. kept_s: how long trades are kept. record takes what did not pass the border. call runs the memory's
    blocking methods where they may block, think the source's code where it holds up nobody.
    """

    def __init__(self, source: ListingSource, fetch: Fetch, memory: ListingMemory, clock: Clock, stats: Stats,
                 on_listing: OnListing, *, url: str = "", interval_s: float = 0.0, fresh_s: float = 600.0,
                 kept_s: float = KEPT_S, record: Record = record_nothing, call: Call = call_here,
                 think: Call = call_here) -> None:
        self.source = source
        self.interval_s = interval_s or source.interval_s
        self.up: bool | None = None  # None until the first answer or failure
        self._board = BoardClient(source, fetch, clock, url, think)
        self._memory, self._clock, self._stats, self._call, self._think = memory, clock, stats, call, think
        self._register = Register(source.name, memory, clock, stats, on_listing, fresh_s=fresh_s, kept_s=kept_s, call=call)
        self._quarantine = Quarantine(source.name, record, clock, stats)
        self._known: dict[str, str] = {}  # notice id -> revision, of the rows last shown
        self._begun = self._more = self._stopped = self._looking = False
        self._since_ns = clock.now_ns()
        self._began_s = clock.monotonic()
        self._reason = ""
        self._lines = 0
        self._taken = 0  # notices remembered in this run

    def schedule(self, scheduler: Any) -> None:
        """Have an APScheduler poll at once and from now on, with a jitter of a tenth of the interval."""
        scheduler.add_job(self.poll, "interval", seconds=self.interval_s, jitter=self.interval_s * JITTER,
                          next_run_time=datetime.now(UTC),
                          id=f"listing.{self.source.name}", max_instances=2, coalesce=True, misfire_grace_time=None)

    def stop(self) -> None:
        """Look no more; what is being looked at is left to the next start."""
        self._stopped = True

    def poll(self) -> None:
        """Look once, unless the board is to be left alone. Never raises."""
        if self._looking:  # a look may take longer than the interval; the scheduler would warn each time
            if (lasts_s := self._clock.monotonic() - self._began_s) > LONGEST_LOOK_S:
                self._say_down(f"a look has not ended for {lasts_s:.0f} s")
            return
        self._looking, self._began_s = True, self._clock.monotonic()
        try:
            alone(self._look, lambda error: self._say_down(f"looking failed: {type(error).__name__}: {error}"))
        except StorageError as error:
            self._say_down(f"nothing can be remembered: {error.message}")
        finally:
            self._looking = False

    def _look(self) -> None:
        if self._stopped or not self._board.due():
            return
        try:
            rows = self._board.read()
        except ServiceUnavailable as error:
            self._count("failed")
            self._say_down(error.message)
            return
        self._count("unchanged" if rows is None else "read")
        self._stats.set("listing_answered_at_ns", self._clock.now_ns(), source=self.source.name)
        if rows is None or self._take(rows):
            self._board.taken()
        self._say_up()

    def _take(self, rows: NoticeRows) -> bool:
        """Deal with a list; return whether with all of it: a row that did not pass may pass when our clock is right again."""
        detected_at_ns = self._clock.now_ns()
        self._quarantine.record(rows.bad)
        self._tell_more(rows.more)
        seeding = not self._begun and self._call(self._memory.notice_count, self.source.name) == 0
        shown_now: dict[str, str] = {}
        fresh: dict[str, tuple[Notice, str]] = {}
        for notice in rows.notices:
            revision = revision_of(notice)
            if shown_now.setdefault(notice.notice_id, revision) == revision and \
                    self._known.get(notice.notice_id) != revision:
                fresh.setdefault(notice.notice_id, (notice, revision))
        whole = not rows.bad
        new = list(fresh.values())
        size = len(new) if seeding else CHUNK  # a first look is remembered as a whole, or not at all
        for start in range(0, len(new), max(size, 1)):
            if self._stopped:
                return False
            failed = self._chunk(new[start:start + size], detected_at_ns, seeding)
            for notice_id in failed:
                del shown_now[notice_id]
            whole = whole and not failed
        if seeding:
            self._call(self._memory.first_look_done, self.source.name)
        self._register.store()
        self._register.log_not_opened()
        self._tell_rest()
        self._known, self._begun = shown_now, True
        if seeding:
            log.info("first look at source=%s: %d notices remembered, none announced", self.source.name, len(new))
        return whole

    def _chunk(self, new: Sequence[tuple[Notice, str]], detected_at_ns: int, seeding: bool) -> list[str]:
        """Deal with rows that are new or edited, and remember them; return the ids of those that failed."""
        name = self.source.name
        try:
            before = {} if seeding else self._call(self._memory.seen_notices, name, [one.notice_id for one, _ in new])
        except StorageError:
            self._open_unasked([one for one, _ in new], detected_at_ns)
            raise
        done: list[tuple[Notice, str, str]] = []
        failed: list[str] = []
        for notice, revision in new:
            row = partial(self._row, notice, revision, before.get(notice.notice_id), detected_at_ns, seeding, done)
            if not alone(row, partial(self._row_failed, notice)):
                failed.append(notice.notice_id)
        self._register.store()
        if done:
            self._call(self._memory.remember_notices, done)
        if (self._taken + len(done)) // REMEMBERED != self._taken // REMEMBERED:
            self._call(self._memory.forget_notices, name, REMEMBERED)
        self._taken += len(done)
        return failed

    def _open_unasked(self, notices: Sequence[Notice], detected_at_ns: int) -> None:
        """Open what is fresh and was not on the last list, while the memory does not say what is known."""
        for notice in notices:
            if self._begun and notice.notice_id not in self._known and \
                    detected_at_ns - notice.published_at_ns <= self._register.fresh_ns:
                alone(partial(self._open_row, notice, detected_at_ns), partial(self._row_failed, notice))

    def _open_row(self, notice: Notice, detected_at_ns: int) -> None:
        verdict = self._think(verdict_of, self.source, notice.title)
        if verdict.kind == "krw_listing" and verdict.coins:
            self._register.add(self._listings(notice, verdict, detected_at_ns))

    def _row(self, notice: Notice, revision: str, before: str | None, detected_at_ns: int, seeding: bool,
             done: list[tuple[Notice, str, str]]) -> None:
        if before == revision:
            return
        try:
            verdict = self._think(verdict_of, self.source, notice.title)
        except BadFrame:
            if not seeding:
                raise
            verdict = UNJUDGED  # a first look announces nothing, whatever it says
        if before is None:
            self._stats.add("listing_notices_total", source=self.source.name, kind=verdict.kind)
            if not seeding and verdict.kind == "krw_listing":
                self._quarantine.record(verdict.bad)
                self._register.add(self._listings(notice, verdict, detected_at_ns))
        else:
            self._stats.add("listing_updates_total", source=self.source.name)
            self._line(logging.INFO, "updated source=%s id=%s kind=%s remarks=%s title=%s", self.source.name,
                       notice.notice_id, verdict.kind, printable(",".join(verdict.notes)) or "none",
                       printable(notice.title))
        done.append((notice, verdict.kind, revision))

    def _row_failed(self, notice: Notice, error: Exception) -> None:
        reason = error.message if isinstance(error, BadFrame) else f"{type(error).__name__}: {error}"
        self._quarantine.record([Bad(reason, shown(notice))])

    def _listings(self, notice: Notice, verdict: Judged, detected_at_ns: int) -> list[Listing]:
        if not verdict.coins and not verdict.bad:
            self._line(logging.WARNING, "a listing whose coin the title does not name source=%s id=%s url=%s title=%s",
                       self.source.name, notice.notice_id, notice.url, printable(notice.title))
        return [Listing(source=self.source.name, notice_id=notice.notice_id, symbol=coin, title=notice.title,
                        announced_at_ns=notice.published_at_ns, detected_at_ns=detected_at_ns,
                        triggered_at_ns=self._clock.now_ns(), needs_body=verdict.needs_body)
                for coin in verdict.coins]

    def _line(self, level: int, text: str, *values: object) -> None:
        self._lines += 1
        if self._lines <= LINES:
            log.log(level, text, *values)

    def _tell_rest(self) -> None:
        if self._lines > LINES:
            log.info("%d more lines of this look are held back source=%s", self._lines - LINES, self.source.name)
        self._lines = 0

    def _tell_more(self, more: bool) -> None:
        if more and not self._more:
            log.warning("the list is longer than any board's, its end is not read source=%s", self.source.name)
        self._more = more

    def _count(self, outcome: str) -> None:
        self._stats.add("listing_polls_total", source=self.source.name, outcome=outcome)

    def _say_down(self, reason: str) -> None:
        self._reason = reason = printable(reason)
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
        """Return what a status shows: up (None before the first poll), since_ns, reason, url, rest_s, quarantined."""
        return {"source": self.source.name, "up": self.up, "since_ns": self._since_ns, "reason": self._reason,
                "url": masked(self._board.url), "rest_s": round(self._board.rest_s(), 1),
                "quarantined": int(self._stats.get("listing_rejected_total", source=self.source.name))}


def revision_of(notice: Notice) -> str:
    """Return what changes when a notice is edited."""
    return hashlib.sha256(f"{notice.updated_at_ns}\n{notice.title}".encode()).hexdigest()[:16]
