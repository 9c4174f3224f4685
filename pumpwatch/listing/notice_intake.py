"""Process the notices of one source: find the new listings among them, each once.

A notice seen for the first time, whose title opens a KRW market, is a listing. If the title does not say which of its coins get
one, the notice's body decides (`notice_bodies`); the notice counts as unprocessed until the body has arrived. Notices of a
board's very first look are stored but not announced (`first_look`). After a restart, notices published during the downtime are
announced, marked as late unless they are fresh. An edit (a new title or time of a known notice) is stored with its sight and
logged with its remarks; it is never a listing. Every row is validated first. An invalid row, or one whose processing fails,
affects no other.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import BadFrame, StorageError
from pumpwatch.hookspecs import NoticeSource
from pumpwatch.listing.context import IntakeContext
from pumpwatch.listing.first_look import FirstLook
from pumpwatch.listing.listing_ledger import Call, call_here
from pumpwatch.listing.manifest import iso
from pumpwatch.listing.notice_bodies import BodyPending, NoticeBodies
from pumpwatch.listing.quarantine import Quarantine
from pumpwatch.listing.registry import ListingRegistry
from pumpwatch.listing.validation import CheckedVerdict, NoticeRows, RejectedRow, checked_verdict, isolated, shown
from pumpwatch.model import Listing, Notice
from pumpwatch.printable import printable
from pumpwatch.store.evidence import BODY, EDITED, SEEN, Evidence

log = logging.getLogger(__name__)

CHUNK = 500  # rows looked up and stored together
LINES = 20  # log lines of one look; further ones are only counted
LISTINGS = ("krw_listing", "non_krw_listing")  # kinds of notices whose bodies name markets
KRW = "KRW"
NOT_JUDGED = CheckedVerdict("other", (), False, (), ())
REMEMBERED = 100_000  # notices stored of a source; older ones are deleted
PLANNED_NS = 60 * NS_PER_S  # a notice dated further ahead is dated with its planned time, or by a wrong clock


class NoticeIntake:
    """The notices of one source. `process` takes a board's list, `deliver` a message of a source that pushes.

    offload: runs the source's code outside the hub. bodies: of the source's board; None: only titles decide.
    """

    def __init__(self, source: NoticeSource, context: IntakeContext, offload: Call = call_here,
                 bodies: NoticeBodies | None = None) -> None:
        self.source, self._bodies = source, bodies
        self._waiting: dict[str, Notice] = {}  # pushed notices whose bodies have not arrived
        self._ledger, self._clock, self._stats, self._offload = context.ledger, context.clock, context.stats, offload
        self._registry = ListingRegistry(source.name, context)
        self._quarantine = Quarantine(source.name, context)
        self._first_look = FirstLook(source.name, context)
        self._verdicts: Mapping[str, CheckedVerdict] = {}  # title -> verdict, of recent notices in the present list
        self._known: dict[str, str] = {}  # notice id -> revision, of the last list
        self._pending: set[str] = set()  # ids of notices of the last list or message whose bodies have not arrived
        self._begun = self._overlong = self._stopped = False
        self._answer: dict[str, Any] | None = None  # of the present list
        self._evidence: list[Evidence] = []  # of the rows processed since the last one was stored
        self._lines = 0
        self._remembered = 0  # notices, in this run

    def stop(self) -> None:
        """Stop processing. Unprocessed rows are left to the next start."""
        self._stopped = True

    @property
    def waits_for_bodies(self) -> bool:
        """Return whether notices of the last list wait for their bodies."""
        return bool(self._pending)

    def record_look(self) -> None:
        """Do nothing: each notice is dated."""

    def process(self, rows: NoticeRows, answer: dict[str, Any] | None = None) -> bool:
        """Process a list; return whether every row was processed.

        A rejected row counts as unprocessed: it may become valid when our clock is corrected. answer: `answer_facts` of the list.
        """
        self._answer, self._pending = answer, set()
        detected_at_ns = self._clock.now_ns()
        self._verdicts = rows.verdicts
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

    def retry(self) -> None:
        """Store listings that the ledger did not take; process pushed notices whose bodies were missing. Raises StorageError."""
        if self._stopped:
            return
        self._registry.store()
        if self._waiting:
            self._process_pushed(list(self._waiting.values()), self._clock.now_ns())

    def deliver(self, rows: NoticeRows) -> None:
        """Process a message of a source that pushes. Raises StorageError.

        A notice that is unknown and not fresh is an edited old one: it is stored but not announced.
        """
        detected_at_ns = self._clock.now_ns()
        self._verdicts = rows.verdicts
        self._quarantine.record(rows.rejected)
        new = [(notice, revision_of(notice)) for notice in rows.notices]
        fresh = [pair for pair in new if detected_at_ns - pair[0].published_at_ns <= self._registry.fresh_ns]
        old = [pair for pair in new if pair not in fresh]
        self._begun = True
        if fresh:
            self._process_pushed([notice for notice, _ in fresh], detected_at_ns)
        if old:
            unknown = self._ledger.seen_notices(self.source.name, [notice.notice_id for notice, _ in old])
            self._ledger.remember_notices([(notice, NOT_JUDGED.kind, revision) for notice, revision in old
                                           if notice.notice_id not in unknown])
            self._process_chunk([pair for pair in old if pair[0].notice_id in unknown], detected_at_ns, None)
        self._registry.log_not_opened()
        self._log_held_back()

    def _process_pushed(self, notices: Sequence[Notice], detected_at_ns: int) -> None:
        """Process pushed notices; those whose bodies have not arrived wait for `retry`."""
        self._pending = set()
        failed = self._process_chunk([(notice, revision_of(notice)) for notice in notices], detected_at_ns, None)
        for notice in notices:
            if notice.notice_id in failed and notice.notice_id in self._pending:
                self._waiting[notice.notice_id] = notice
            else:
                self._waiting.pop(notice.notice_id, None)

    def _process_chunk(self, new: Sequence[tuple[Notice, str]], detected_at_ns: int,
                       seeds: list[tuple[Notice, str, str]] | None) -> list[str]:
        """Process new and edited rows, and store them; return the ids of those that failed.

        seeds: rows to store with a first look, which is one chunk, so that it is stored as a whole or not at all; else None.
        """
        name, seeding = self.source.name, seeds is not None
        try:
            before = {} if seeding else self._ledger.seen_notices(name, [notice.notice_id for notice, _ in new])
        except StorageError:
            self._open_without_ledger([notice for notice, _ in new], detected_at_ns)
            raise
        done: list[tuple[Notice, str, str]] = list(seeds or ())
        failed: list[str] = []
        for notice, revision in sorted(new, key=lambda pair: self._may_need_body(pair[0])):  # a body may take a second
            row = partial(self._process_row, notice, revision, before.get(notice.notice_id), detected_at_ns, seeding, done)
            if not isolated(row, partial(self._row_failed, notice)):
                failed.append(notice.notice_id)
        self._registry.store()
        evidence, self._evidence = self._evidence, []
        if evidence:
            self._ledger.keep_evidence(evidence)
        if done:
            self._ledger.remember_notices(done)
        if (self._remembered + len(done)) // REMEMBERED != self._remembered // REMEMBERED:
            self._ledger.forget_notices(name, REMEMBERED)
        self._remembered += len(done)
        return failed

    def _open_without_ledger(self, notices: Sequence[Notice], detected_at_ns: int) -> None:
        """Open windows for fresh notices that were not on the last list, while the ledger cannot tell which are known."""
        for notice in notices:
            if self._begun and notice.notice_id not in self._known and not self._first_look.covers(notice) and \
                    detected_at_ns - notice.published_at_ns <= self._registry.fresh_ns:
                isolated(partial(self._open_row, notice, detected_at_ns), partial(self._row_failed, notice))

    def _open_row(self, notice: Notice, detected_at_ns: int) -> None:
        verdict = self._judge(notice)
        if verdict.needs_body:
            verdict = self._with_body(notice, verdict, detected_at_ns)
        if verdict.kind == "krw_listing" and verdict.coins:
            self._registry.add(self._listings(notice, verdict, detected_at_ns))

    def _process_row(self, notice: Notice, revision: str, before: str | None, detected_at_ns: int, seeding: bool,
                     done: list[tuple[Notice, str, str]]) -> None:
        if before == revision:
            return
        try:
            verdict = self._judge(notice)
        except BadFrame:
            if not seeding:
                raise
            verdict = NOT_JUDGED  # a first look announces nothing, whatever the verdict
        first_seen_ns = detected_at_ns
        if verdict.needs_body and not seeding and not self._first_look.covers(notice):
            if self._bodies is not None:
                first_seen_ns = self._bodies.first_seen_ns(notice, detected_at_ns)
            verdict = self._with_body(notice, verdict, detected_at_ns)
        if before is None:
            self._stats.add("listing_notices_total", source=self.source.name, kind=verdict.kind)
            if not seeding and verdict.kind == "krw_listing" and not self._first_look.covers(notice):
                self._quarantine.record(verdict.rejected)
                self._registry.add(self._listings(notice, verdict, first_seen_ns))
                self._add_evidence(notice, SEEN, first_seen_ns)
        else:
            self._stats.add("listing_updates_total", source=self.source.name)
            self._ledger.edit_sights(notice, detected_at_ns)
            self._add_evidence(notice, EDITED, detected_at_ns)
            self._log_limited(logging.INFO, "notice updated source=%s id=%s kind=%s remarks=%s title=%s", self.source.name,
                              notice.notice_id, verdict.kind, printable(",".join(verdict.notes)) or "none",
                              printable(notice.title))
        done.append((notice, verdict.kind, revision))

    def _may_need_body(self, notice: Notice) -> bool:
        known = self._verdicts.get(notice.title)
        return known is not None and known.needs_body

    def _judge(self, notice: Notice) -> CheckedVerdict:
        """Return the verdict on a notice. Raises BadFrame for an invalid one."""
        known = None if notice.coins else self._verdicts.get(notice.title)
        return known or self._offload(checked_verdict, self.source, notice)

    def _add_evidence(self, notice: Notice, event: str, at_ns: int) -> None:
        self._evidence.append(Evidence(self.source.name, notice.notice_id, at_ns, event,
                                       {"raw": notice.raw or notice.title, "answer": self._answer}))

    def _with_body(self, notice: Notice, verdict: CheckedVerdict, detected_at_ns: int) -> CheckedVerdict:
        """Return the verdict by a notice's body; the title's verdict if there is no body. Raises BodyPending."""
        if self._bodies is None or verdict.kind not in LISTINGS:
            return verdict
        body = self._bodies.body_of(notice, detected_at_ns)
        self._bodies.forget_wait(notice)
        if body is None:
            return verdict
        self._evidence.append(Evidence(self.source.name, notice.notice_id, body.at_ns, BODY, {
            "text": body.text, "markets": body.coins, "starts_ns": body.starts_ns}))
        coins = tuple(coin for coin, markets in body.coins.items() if KRW in markets)
        self._log_limited(logging.INFO, "notice body decides source=%s id=%s krw=%s others=%s starts=%s", self.source.name,
                          notice.notice_id, ",".join(coins) or "none",
                          ",".join(coin for coin in body.coins if coin not in coins) or "none",
                          ",".join(f"{coin}:{iso(at_ns)}" for coin, at_ns in body.starts_ns.items()) or "unknown")
        return CheckedVerdict(LISTINGS[0] if coins else LISTINGS[1], coins, False, verdict.notes, body.rejected)

    def _row_failed(self, notice: Notice, error: Exception) -> None:
        if isinstance(error, BodyPending):
            self._pending.add(notice.notice_id)
            return
        reason = error.message if isinstance(error, BadFrame) else f"{type(error).__name__}: {error}"
        self._quarantine.record([RejectedRow(reason, shown(notice))])

    def _listings(self, notice: Notice, verdict: CheckedVerdict, detected_at_ns: int) -> list[Listing]:
        if not verdict.coins and not verdict.rejected:
            self._log_limited(logging.WARNING, "listing without a coin in its title source=%s id=%s url=%s title=%s: read the "
                              "notice", self.source.name, notice.notice_id, notice.url, printable(notice.title))
        ahead = notice.published_at_ns - detected_at_ns > PLANNED_NS
        announced_at_ns = detected_at_ns if ahead else notice.published_at_ns  # it is public now, whatever its date
        return [Listing(source=self.source.name, notice_id=notice.notice_id, symbol=coin, title=notice.title,
                        announced_at_ns=announced_at_ns, detected_at_ns=detected_at_ns,
                        triggered_at_ns=self._clock.now_ns(), needs_body=verdict.needs_body, exchange=self.source.exchange)
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


def revision_of(notice: Notice) -> str:
    """Return a text that changes when a notice is edited."""
    return hashlib.sha256(f"{notice.updated_at_ns}\n{notice.title}".encode()).hexdigest()[:16]
