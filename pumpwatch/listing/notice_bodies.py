"""The bodies of notices whose title does not say which coin gets which market.

A body that came with its notice is read at once. Otherwise it is loaded from the board, one body at a time, while polling of the
board's list continues: the caller waits at most WAIT_S, and asks again at the next look. A body that fails to load is logged
once and retried with back-off. It is given up when its listing is no longer fresh; then the title decides.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gevent

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import BadFrame, PumpWatchError
from pumpwatch.hookspecs import ListingSource
from pumpwatch.listing.context import IntakeContext
from pumpwatch.listing.listing_ledger import Call, call_here
from pumpwatch.listing.validation import RejectedRow, call, checked_body, isolated, message_of
from pumpwatch.model import Notice
from pumpwatch.net.backoff import Backoff
from pumpwatch.printable import printable

log = logging.getLogger(__name__)

WAIT_S = 1.0
GAP_S = 1.0  # between two requests of one board
FIRST_S, LONGEST_S = 2.0, 60.0  # pause after a failure
KEPT = 100  # bodies in memory, and notices that wait for one

Load = Callable[[str], bytes]  # address -> body of the answer; raises ServiceUnavailable


class BodyPending(PumpWatchError):
    """The body of a notice has not arrived: ask again at the next look."""


@dataclass(frozen=True, slots=True)
class ReadBody:
    """A body that was read. coins: coin -> markets; starts_ns: coin -> start of trading; at_ns: when it was read."""

    coins: dict[str, tuple[str, ...]]
    starts_ns: dict[str, int]
    rejected: tuple[RejectedRow, ...]
    text: str
    at_ns: int


@dataclass(slots=True)
class _Wanted:
    """A body that has not arrived. next_s: no retry before this time (monotonic)."""

    first_seen_ns: int
    next_s: float = 0.0
    tries: int = 0
    reason: str = ""
    backoff: Backoff = field(default_factory=lambda: Backoff(base_s=FIRST_S, cap_s=LONGEST_S))


class NoticeBodies:
    """The bodies of one board, for every source that shows its notices.

    load: fetches an address of the board. list_url: returns the address of the list in use. offload: runs the source's code
    outside the hub.
    """

    def __init__(self, board: ListingSource, context: IntakeContext, load: Load, list_url: Callable[[], str],
                 offload: Call = call_here) -> None:
        self._board, self._load, self._list_url, self._offload = board, load, list_url, offload
        self._clock, self._stats = context.clock, context.stats
        self._fresh_ns = int(context.fresh_s * NS_PER_S)
        self._wanted: dict[tuple[str, int], _Wanted] = {}  # by notice id and time of the last edit
        self._read: dict[tuple[str, int], ReadBody] = {}
        self._loading: Any = None  # a greenlet
        self._next_s = 0.0

    def body_of(self, notice: Notice, seen_ns: int) -> ReadBody | None:
        """Return the body of a notice, None if it is given up. Raises BodyPending while it may still arrive. seen_ns: now."""
        key = (notice.notice_id, notice.updated_at_ns)
        if key in self._read:
            return self._read[key]
        wanted = self._wanted.setdefault(key, _Wanted(seen_ns))
        if notice.body and not wanted.tries:
            self._try(key, notice, wanted, lambda: notice.body)
        elif self._may_load(wanted):
            self._loading = gevent.spawn(self._try, key, notice, wanted, lambda: self._fetched(notice))
            self._loading.join(WAIT_S)
        if key in self._read:
            return self._read[key]
        if seen_ns - max(wanted.first_seen_ns, notice.published_at_ns) > self._fresh_ns or len(self._wanted) > KEPT:
            del self._wanted[key]
            log.warning("notice body given up source=%s id=%s reason=%s: its title decides", self._board.name,
                        printable(notice.notice_id), wanted.reason or "too many at once")
            return None
        raise BodyPending(f"the body of notice {notice.notice_id} has not arrived")

    def first_seen_ns(self, notice: Notice, seen_ns: int) -> int:
        """Return when a notice that waits for its body was first seen; seen_ns for any other notice."""
        wanted = self._wanted.get((notice.notice_id, notice.updated_at_ns))
        return wanted.first_seen_ns if wanted is not None else seen_ns

    def forget_wait(self, notice: Notice) -> None:
        """Forget that a notice waits for its body."""
        self._wanted.pop((notice.notice_id, notice.updated_at_ns), None)

    def _may_load(self, wanted: _Wanted) -> bool:
        now_s = self._clock.monotonic()
        return now_s >= max(wanted.next_s, self._next_s) and (self._loading is None or self._loading.dead)

    def _fetched(self, notice: Notice) -> str:
        assert self._board.body_url is not None and self._board.body_text is not None
        url = call(self._board.body_url, self._list_url(), notice)
        if type(url) is not str:
            raise BadFrame("body_url does not return an address")
        text: str = self._offload(call, self._board.body_text, self._load(url))
        return text

    def _try(self, key: tuple[str, int], notice: Notice, wanted: _Wanted, text_of: Callable[[], str]) -> None:
        """Try once to read a body; on failure plan the next try. Never raises."""
        def read() -> None:
            text = text_of()
            coins, starts_ns, rejected = self._offload(checked_body, self._board, text, notice.published_at_ns)
            self._read[key] = ReadBody(coins, starts_ns, tuple(rejected), text, self._clock.now_ns())
            while len(self._read) > KEPT:
                del self._read[next(iter(self._read))]
            if wanted.reason:
                log.info("notice body read source=%s id=%s tries=%d", self._board.name, printable(notice.notice_id), wanted.tries)

        wanted.tries += 1
        isolated(read, lambda error: self._failed(notice, wanted, error))
        self._next_s = self._clock.monotonic() + GAP_S

    def _failed(self, notice: Notice, wanted: _Wanted, error: Exception) -> None:
        self._stats.add("listing_body_failures_total", source=self._board.name)
        reason = message_of(error)
        if not wanted.reason:
            log.warning("notice body not read source=%s id=%s reason=%s: it is retried", self._board.name,
                        printable(notice.notice_id), reason)
        wanted.reason = reason
        wanted.next_s = self._clock.monotonic() + wanted.backoff.next_s()
