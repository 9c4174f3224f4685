"""The first look at a source: its notices are stored as known and never announced.

A row that is invalid at the first look may become valid later, when a plugin or our clock is corrected. It still counts as
known: by its id if that is readable, else by its publication time, which is before the first look. A row dated ahead of our
clock suggests that the clock is slow. For up to PATIENCE_S such a list does not count as the first look, so that its newest
notices are not announced as listings once the clock is corrected.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from pumpwatch.clock import NS_PER_S
from pumpwatch.listing.context import IntakeContext
from pumpwatch.listing.validation import RejectedRow
from pumpwatch.model import Notice

log = logging.getLogger(__name__)

PATIENCE_S = 600.0
MARKER_ID = ""  # stored with the time of a first look that had unreadable rows; a notice's id is never empty
KIND = "other"


class FirstLook:
    """The first look at one source, also after restarts."""

    def __init__(self, source: str, context: IntakeContext) -> None:
        self._source, self._ledger, self._clock = source, context.ledger, context.clock
        self._done = False
        self._known_before_ns = 0
        self._waiting_since_s: float | None = None

    def is_due(self) -> bool:
        """Return whether the next list is the source's first one. Raises StorageError."""
        if not self._done and self._ledger.notice_count(self._source) > 0:
            revision = self._ledger.seen_notices(self._source, [MARKER_ID]).get(MARKER_ID, "")
            self._known_before_ns = int(revision) if revision.isdecimal() else 0
            self._done = True
        return not self._done

    def must_wait(self, rejected: Sequence[RejectedRow]) -> bool:
        """Return whether to wait before a list counts as the first look, because rows of it are dated ahead of our clock."""
        ahead = sum(row.ahead for row in rejected)
        if not ahead:
            return False
        now_s = self._clock.monotonic()
        if self._waiting_since_s is None:
            self._waiting_since_s = now_s
            log.warning("first look postponed source=%s rows=%d for_s=%.0f reason=rows are dated ahead of this machine's clock: "
                        "check the clock", self._source, ahead, PATIENCE_S)
        return now_s - self._waiting_since_s < PATIENCE_S

    def seeds(self, rejected: Sequence[RejectedRow], valid_ids: Collection[str], at_ns: int) -> list[tuple[Notice, str, str]]:
        """Return the rows for `remember_notices` that mark the rejected rows of the first look as known."""
        seeds = {row.notice_id: "" for row in rejected if row.notice_id and row.notice_id not in valid_ids}
        if any(not row.notice_id for row in rejected):
            seeds[MARKER_ID] = str(at_ns // NS_PER_S * NS_PER_S)  # boards date notices in whole seconds
        self._known_before_ns = int(seeds.get(MARKER_ID, 0))
        return [(Notice(source=self._source, notice_id=notice_id, title="", category="", published_at_ns=at_ns,
                        updated_at_ns=at_ns), KIND, revision) for notice_id, revision in seeds.items()]

    def finish(self) -> None:
        """Record that every notice of the first look is stored. Raises StorageError."""
        self._ledger.first_look_done(self._source)
        self._done = True

    def covers(self, notice: Notice) -> bool:
        """Return whether an unknown notice may have been an unreadable row of the first look, by its publication time."""
        return notice.published_at_ns < self._known_before_ns
