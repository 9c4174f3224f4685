"""Register the listings that sources find: each is stored once; fresh ones open windows.

Several sources may see one listing; the ledger joins them (`store.sights`). The earliest sight opens the window; later ones are
stored and logged with their delay. A listing is durable before anything acts on it, so a crash neither loses nor repeats it.
If the ledger fails, a fresh listing still opens its window, once in this run, and is stored when the ledger works again.

A board that lists thousands of coins at once is broken or hostile. At most OPENED_OF_A_NOTICE coins of one notice, and
OPENED_A_MINUTE coins of one source, get a window; the others are stored as not opened (`pumpwatch listing replay` can make
their archives). A listing seen later than `fresh_s` after its publication is late; it still gets an archive while its trades
are kept.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.listing.context import IntakeContext
from pumpwatch.model import Listing
from pumpwatch.printable import printable

log = logging.getLogger(__name__)

OPENED_OF_A_NOTICE = 40
OPENED_A_MINUTE = 60  # of one source
TOO_MANY = "not opened: too many at once"


class ListingRegistry:
    """The listings of one source. Call `add` for each notice, then `store` and `log_not_opened` once per look.

    `context.on_listing` is called for each listing that gets a window, in the order of the title.
    """

    def __init__(self, source: str, context: IntakeContext) -> None:
        self._source, self._context = source, context
        self.fresh_ns, self._kept_ns = int(context.fresh_s * NS_PER_S), int(context.kept_s * NS_PER_S)
        self._opened_s: deque[float] = deque(maxlen=OPENED_A_MINUTE)
        self._unopened: dict[tuple[str, str], Listing] = {}  # by notice id and coin, since a notice may be added again
        self._not_remembered: dict[tuple[str, str], Listing] = {}  # opened while the ledger failed
        self._storage_error: StorageError | None = None  # since the last `store`
        self._too_many = self._too_old = 0
        self._first_unopened = self._first_old = ""

    def add(self, listings: Sequence[Listing]) -> int:
        """Register the coins of one notice; return how many of them get a window or were known before.

        A known coin counts towards OPENED_OF_A_NOTICE, so that adding a notice again opens no further windows. `store` raises
        the ledger's errors later.
        """
        counted = 0
        for listing in listings:
            age_ns = listing.detected_at_ns - listing.announced_at_ns
            key = (listing.notice_id, listing.symbol)
            if age_ns > self._kept_ns:
                self._first_old = self._first_old or f"{listing.notice_id} {listing.symbol}"
                self._too_old += 1
            elif key in self._not_remembered:
                counted += 1
            elif counted >= OPENED_OF_A_NOTICE or not self._may_open():
                self._unopened[key] = listing
            else:
                counted += 1
                if self._is_new(listing, age_ns):
                    self._opened_s.append(self._context.clock.monotonic())
                    self._open(listing, age_ns)
        return counted

    def _is_new(self, listing: Listing, age_ns: int) -> bool:
        """Store a listing; return whether to open its window."""
        if self._storage_error is None:
            try:
                is_first = self._context.ledger.remember_listing(listing)
            except StorageError as error:
                self._storage_error = error
            else:
                if not is_first:
                    self._log_joined(listing)
                return is_first
        if age_ns > self.fresh_ns:
            return False
        self._not_remembered[listing.notice_id, listing.symbol] = listing
        return True

    def add_missed(self, listing: Listing, problem: str) -> None:
        """Register a listing that gets no window for this reason. Raises StorageError."""
        if self._context.ledger.remember_missed(listing, problem):
            self._context.stats.add("listing_not_opened_total", source=self._source)
            log.warning("listing not opened source=%s id=%s coin=%s reason=%s", listing.source, printable(listing.notice_id),
                        listing.symbol, problem)
        else:
            self._log_joined(listing)

    def _log_joined(self, listing: Listing) -> None:
        """Log a sight of a listing that another source saw first. `store` raises the ledger's error later."""
        try:
            first = self._context.ledger.first_sight(listing)
        except StorageError as error:
            self._storage_error, first = error, None
        if first is not None and (first.source, first.notice_id) != (listing.source, listing.notice_id):
            self._context.stats.add("listing_later_sights_total", source=self._source)
            log.info("listing seen again source=%s id=%s coin=%s kind=%s behind_s=%.1f first=%s first_id=%s", listing.source,
                     printable(listing.notice_id), listing.symbol, listing.kind,
                     (listing.detected_at_ns - first.seen_at_ns) / NS_PER_S, first.source, printable(first.notice_id))

    def _may_open(self) -> bool:
        """Return whether fewer than OPENED_A_MINUTE were opened in the last minute."""
        return len(self._opened_s) < OPENED_A_MINUTE or self._context.clock.monotonic() - self._opened_s[0] >= 60.0

    def _open(self, listing: Listing, age_ns: int) -> None:
        log.info("listing found source=%s id=%s coin=%s after_s=%.1f late=%s drill=%s needs_body=%s title=%s", listing.source,
                 listing.notice_id, listing.symbol, age_ns / NS_PER_S, age_ns > self.fresh_ns, listing.drill, listing.needs_body,
                 printable(listing.title))
        self._context.stats.add("listing_detected_total", source=self._source)
        self._context.on_listing(listing)

    def store(self) -> None:
        """Store the listings that are not durable yet. After a StorageError, add the notices since the last call again."""
        unopened, self._unopened = list(self._unopened.values()), {}
        storage_error, self._storage_error = self._storage_error, None
        if storage_error is not None:
            raise storage_error
        for key, listing in list(self._not_remembered.items()):
            self._context.ledger.remember_listing(listing)
            del self._not_remembered[key]
        if unopened:
            self._context.ledger.remember_unopened(unopened, TOO_MANY)
            self._too_many += len(unopened)
            self._first_unopened = self._first_unopened or f"{unopened[0].notice_id} {unopened[0].symbol}"
            self._context.stats.add("listing_not_opened_total", len(unopened), source=self._source)

    def log_not_opened(self) -> None:
        """Log how many listings were not opened since the last call, and how many were too old, in one line each."""
        if self._too_many:
            log.warning("listings not opened source=%s coins=%d first=%s reason=too many at once", self._source,
                        self._too_many, self._first_unopened)
        if self._too_old:
            log.info("listings ignored source=%s coins=%d first=%s reason=older than trades are kept", self._source,
                     self._too_old, self._first_old)
        self._too_many = self._too_old = 0
        self._first_unopened = self._first_old = ""
