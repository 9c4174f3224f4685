"""Find new listings on a notice board, each of them once.

A notice that is seen for the first time, and whose title opens a KRW market, is a listing. The notices of a source's very first
look are remembered and not announced (`first_look`). After a restart, notices that appeared during the downtime are announced,
as late where they are no longer fresh. An edit (another title or time of a known notice) is logged with its remarks and is
never a listing. Every row is validated first; a row that is invalid, or that cannot be handled, affects no other.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import BadFrame, ServiceUnavailable, StorageError
from pumpwatch.hookspecs import ListingSource
from pumpwatch.listing.board_client import JITTER, BoardClient, Fetch
from pumpwatch.listing.context import IntakeContext
from pumpwatch.listing.first_look import FirstLook
from pumpwatch.listing.listing_ledger import Call, call_here
from pumpwatch.listing.quarantine import Quarantine
from pumpwatch.listing.registry import ListingRegistry
from pumpwatch.listing.validation import CheckedVerdict, NoticeRows, RejectedRow, checked_verdict, isolated, shown
from pumpwatch.model import Listing, Notice
from pumpwatch.net.texts import masked
from pumpwatch.printable import printable

log = logging.getLogger(__name__)

CHUNK = 500  # rows that are looked up, and remembered, together
LONGEST_LOOK_S = 120.0
LINES = 20  # log lines of one look; further ones are counted
NOT_JUDGED = CheckedVerdict("other", (), False, (), ())
REMEMBERED = 100_000  # notices of a source; the oldest are forgotten


class Watch:
    """One listing source. `poll` makes one look; `schedule` has APScheduler repeat it.

    url and interval_s override the source's own. offload runs the source's code where it blocks nothing.
    """

    def __init__(self, source: ListingSource, fetch: Fetch, context: IntakeContext, *, url: str = "", interval_s: float = 0.0,
                 offload: Call = call_here) -> None:
        self.source = source
        self.interval_s = interval_s or source.interval_s
        self.up: bool | None = None  # None until the first response or failure
        self._board = BoardClient(source, fetch, context.clock, url, offload)
        self._ledger, self._clock, self._stats, self._offload = context.ledger, context.clock, context.stats, offload
        self._registry = ListingRegistry(source.name, context)
        self._quarantine = Quarantine(source.name, context)
        self._first_look = FirstLook(source.name, context)
        self._known: dict[str, str] = {}  # notice id -> revision, of the last list
        self._begun = self._overlong = self._stopped = self._looking = False
        self._since_ns = context.clock.now_ns()
        self._look_began_s = context.clock.monotonic()
        self._reason = ""
        self._lines = 0
        self._remembered = 0  # notices, in this run

    def schedule(self, scheduler: Any) -> None:
        """Have an APScheduler poll now and every `interval_s`, with a jitter of a tenth of that."""
        scheduler.add_job(self.poll, "interval", seconds=self.interval_s, jitter=self.interval_s * JITTER,
                          next_run_time=datetime.now(UTC),
                          id=f"listing.{self.source.name}", max_instances=2, coalesce=True, misfire_grace_time=None)

    def stop(self) -> None:
        """Make no further look; rows of a look under way that are not processed yet are left to the next start."""
        self._stopped = True

    def poll(self) -> None:
        """Look once, unless the board is to be left alone. Never raises."""
        if self._looking:  # a look may take longer than the interval; the scheduler would warn each time
            if (lasts_s := self._clock.monotonic() - self._look_began_s) > LONGEST_LOOK_S:
                self._mark_down(f"a look has not ended for {lasts_s:.0f} s")
            return
        self._looking, self._look_began_s = True, self._clock.monotonic()
        try:
            isolated(self._look, lambda error: self._mark_down(f"a look failed: {type(error).__name__}: {error}"))
        except StorageError as error:
            self._mark_down(f"the ledger cannot be read or written: {error.message}")
        finally:
            self._looking = False

    def _look(self) -> None:
        if self._stopped or not self._board.due():
            return
        try:
            rows = self._board.read()
        except ServiceUnavailable as error:
            self._count("failed")
            self._mark_down(error.message)
            return
        self._count("unchanged" if rows is None else "read")
        self._stats.set("listing_answered_at_ns", self._clock.now_ns(), source=self.source.name)
        if rows is None or self._process(rows):
            self._board.confirm()
        self._mark_up()

    def _process(self, rows: NoticeRows) -> bool:
        """Process a list; return whether all of it is done. A rejected row may become valid when our clock is corrected."""
        detected_at_ns = self._clock.now_ns()
        self._log_overlong(rows.more)
        seeding = self._first_look.is_due()
        if seeding and self._first_look.must_wait(rows.rejected):
            return False
        self._quarantine.record(rows.rejected)
        shown_now: dict[str, str] = {}
        fresh: dict[str, tuple[Notice, str]] = {}
        for notice in rows.notices:
            revision = revision_of(notice)
            if shown_now.setdefault(notice.notice_id, revision) == revision and \
                    self._known.get(notice.notice_id) != revision:
                fresh.setdefault(notice.notice_id, (notice, revision))
        complete = not rows.rejected
        new = list(fresh.values())
        if seeding:
            seeds = self._first_look.seeds(rows.rejected, shown_now, detected_at_ns)
            failed = self._process_chunk(new, detected_at_ns, seeds)
            self._first_look.finish()
            log.info("first look done source=%s remembered=%d announced=0", self.source.name, len(new))
        else:
            failed = []
            for start in range(0, len(new), CHUNK):
                if self._stopped:
                    return False
                failed += self._process_chunk(new[start:start + CHUNK], detected_at_ns, None)
        for notice_id in failed:
            del shown_now[notice_id]
        self._registry.store()
        self._registry.log_not_opened()
        self._log_held_back()
        self._known, self._begun = shown_now, True
        return complete and not failed

    def _process_chunk(self, new: Sequence[tuple[Notice, str]], detected_at_ns: int,
                       seeds: list[tuple[Notice, str, str]] | None) -> list[str]:
        """Process rows that are new or edited, and remember them; return the ids of those that failed.

        A first look gives `seeds` and is one chunk, so that it is remembered as a whole or not at all.
        """
        name, seeding = self.source.name, seeds is not None
        try:
            before = {} if seeding else self._ledger.seen_notices(name, [notice.notice_id for notice, _ in new])
        except StorageError:
            self._open_without_ledger([notice for notice, _ in new], detected_at_ns)
            raise
        done: list[tuple[Notice, str, str]] = list(seeds or ())
        failed: list[str] = []
        for notice, revision in new:
            row = partial(self._process_row, notice, revision, before.get(notice.notice_id), detected_at_ns, seeding, done)
            if not isolated(row, partial(self._row_failed, notice)):
                failed.append(notice.notice_id)
        self._registry.store()
        if done:
            self._ledger.remember_notices(done)
        if (self._remembered + len(done)) // REMEMBERED != self._remembered // REMEMBERED:
            self._ledger.forget_notices(name, REMEMBERED)
        self._remembered += len(done)
        return failed

    def _open_without_ledger(self, notices: Sequence[Notice], detected_at_ns: int) -> None:
        """Open windows for fresh notices that were not on the last list, while the ledger does not say which are known."""
        for notice in notices:
            if self._begun and notice.notice_id not in self._known and not self._first_look.covers(notice) and \
                    detected_at_ns - notice.published_at_ns <= self._registry.fresh_ns:
                isolated(partial(self._open_row, notice, detected_at_ns), partial(self._row_failed, notice))

    def _open_row(self, notice: Notice, detected_at_ns: int) -> None:
        verdict = self._offload(checked_verdict, self.source, notice.title)
        if verdict.kind == "krw_listing" and verdict.coins:
            self._registry.add(self._listings(notice, verdict, detected_at_ns))

    def _process_row(self, notice: Notice, revision: str, before: str | None, detected_at_ns: int, seeding: bool,
                     done: list[tuple[Notice, str, str]]) -> None:
        if before == revision:
            return
        try:
            verdict = self._offload(checked_verdict, self.source, notice.title)
        except BadFrame:
            if not seeding:
                raise
            verdict = NOT_JUDGED  # a first look announces nothing, whatever the verdict
        if before is None:
            self._stats.add("listing_notices_total", source=self.source.name, kind=verdict.kind)
            if not seeding and verdict.kind == "krw_listing" and not self._first_look.covers(notice):
                self._quarantine.record(verdict.rejected)
                self._registry.add(self._listings(notice, verdict, detected_at_ns))
        else:
            self._stats.add("listing_updates_total", source=self.source.name)
            self._log_limited(logging.INFO, "notice updated source=%s id=%s kind=%s remarks=%s title=%s", self.source.name,
                              notice.notice_id, verdict.kind, printable(",".join(verdict.notes)) or "none",
                              printable(notice.title))
        done.append((notice, verdict.kind, revision))

    def _row_failed(self, notice: Notice, error: Exception) -> None:
        reason = error.message if isinstance(error, BadFrame) else f"{type(error).__name__}: {error}"
        self._quarantine.record([RejectedRow(reason, shown(notice))])

    def _listings(self, notice: Notice, verdict: CheckedVerdict, detected_at_ns: int) -> list[Listing]:
        if not verdict.coins and not verdict.rejected:
            self._log_limited(logging.WARNING, "listing without a coin in its title source=%s id=%s url=%s title=%s: read the "
                              "notice", self.source.name, notice.notice_id, notice.url, printable(notice.title))
        return [Listing(source=self.source.name, notice_id=notice.notice_id, symbol=coin, title=notice.title,
                        announced_at_ns=notice.published_at_ns, detected_at_ns=detected_at_ns,
                        triggered_at_ns=self._clock.now_ns(), needs_body=verdict.needs_body)
                for coin in verdict.coins]

    def _log_limited(self, level: int, text: str, *values: object) -> None:
        self._lines += 1
        if self._lines <= LINES:
            log.log(level, text, *values)

    def _log_held_back(self) -> None:
        if self._lines > LINES:
            log.info("log lines of a look held back source=%s count=%d", self.source.name, self._lines - LINES)
        self._lines = 0

    def _log_overlong(self, overlong: bool) -> None:
        if overlong and not self._overlong:
            log.warning("list too long source=%s: the rows after its first thousands are not read", self.source.name)
        self._overlong = overlong

    def _count(self, outcome: str) -> None:
        self._stats.add("listing_polls_total", source=self.source.name, outcome=outcome)

    def _mark_down(self, reason: str) -> None:
        self._reason = reason = printable(reason)
        if self.up is not False:
            self.up, self._since_ns = False, self._clock.now_ns()
            self._stats.set("listing_source_up", 0, source=self.source.name)
            log.warning("listing source down source=%s reason=%s", self.source.name, reason)

    def _mark_up(self) -> None:
        if self.up is not True:
            now_ns = self._clock.now_ns()
            if self.up is False:
                log.info("listing source up again source=%s after_s=%.0f url=%s", self.source.name,
                         (now_ns - self._since_ns) / NS_PER_S, masked(self._board.url))
            self.up, self._since_ns, self._reason = True, now_ns, ""
            self._stats.set("listing_source_up", 1, source=self.source.name)

    def state(self) -> dict[str, Any]:
        """Return the row of a status: up (None before the first poll), since_ns, reason, url, rest_s, quarantined."""
        return {"source": self.source.name, "up": self.up, "since_ns": self._since_ns, "reason": self._reason,
                "url": masked(self._board.url), "rest_s": round(self._board.rest_s(), 1),
                "quarantined": int(self._stats.get("listing_rejected_total", source=self.source.name))}


def revision_of(notice: Notice) -> str:
    """Return a text that changes when a notice is edited."""
    return hashlib.sha256(f"{notice.updated_at_ns}\n{notice.title}".encode()).hexdigest()[:16]
