"""Take the listings that sources find: remember each once, open the windows of a few, record and count the rest.

A listing is durable before anyone acts on it, so a crash neither loses nor repeats one. While the memory refuses, a fresh
one is opened all the same, once in this run, and remembered as soon as that is possible. A board that lists thousands of
coins at once is broken or hostile: of one notice OPENED_OF_A_NOTICE coins get a window and of one source OPENED_A_MINUTE, the
others are remembered as not opened (`pumpwatch listing replay` makes their archives too). A listing seen later than
`fresh_s` after its publication is late: its trades are stored all the same, so it gets its archive as long as they are kept.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import StorageError
from pumpwatch.listing.memory import Call, ListingMemory, call_here
from pumpwatch.model import Listing
from pumpwatch.printable import printable
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

OPENED_OF_A_NOTICE = 10
OPENED_A_MINUTE = 10  # of one source
TOO_MANY = "not opened: too many at once"
KEPT_S = 48 * 3600.0

OnListing = Callable[[Listing], None]


class Register:
    """The register of one source. `take` what one notice lists, then `store` and `tell`, once a chunk and once a look.

    on_listing is called for each listing that gets a window, in the order of the title. kept_s: how long trades are kept.
    """

    def __init__(self, source: str, memory: ListingMemory, clock: Clock, stats: Stats, on_listing: OnListing, *,
                 fresh_s: float, kept_s: float = KEPT_S, call: Call = call_here) -> None:
        self._source, self._memory, self._clock, self._stats, self._call = source, memory, clock, stats, call
        self._on_listing, self.fresh_ns, self._kept_ns = on_listing, int(fresh_s * NS_PER_S), int(kept_s * NS_PER_S)
        self._opened_s: deque[float] = deque(maxlen=OPENED_A_MINUTE)
        self._unopened: dict[tuple[str, str], Listing] = {}  # a notice that is taken again is in it once
        self._owed: dict[tuple[str, str], Listing] = {}  # opened, and not remembered yet
        self._refused: StorageError | None = None  # since the last `store`
        self._too_many = self._too_old = 0
        self._first_unopened = self._first_old = ""

    def add(self, listings: Sequence[Listing]) -> int:
        """Take the coins of one notice; return how many windows were opened. What the memory refuses, `store` raises."""
        opened = 0
        for one in listings:
            age_ns = one.detected_at_ns - one.announced_at_ns
            if age_ns > self._kept_ns:
                self._first_old = self._first_old or f"{one.notice_id} {one.symbol}"
                self._too_old += 1
            elif (one.notice_id, one.symbol) in self._owed:
                opened += 1
            elif opened >= OPENED_OF_A_NOTICE or not self._may_open():
                self._unopened[one.notice_id, one.symbol] = one
            elif self._is_new(one, age_ns):
                opened += 1
                self._opened_s.append(self._clock.monotonic())
                self._open(one, age_ns)
        return opened

    def _is_new(self, one: Listing, age_ns: int) -> bool:
        """Remember it; return whether its window is to be opened."""
        if self._refused is None:
            try:
                return self._call(self._memory.remember_listing, one)
            except StorageError as error:
                self._refused = error
        if age_ns > self.fresh_ns:
            return False
        self._owed[one.notice_id, one.symbol] = one
        return True

    def _may_open(self) -> bool:
        """Return whether fewer than OPENED_A_MINUTE were opened in the last minute."""
        return len(self._opened_s) < OPENED_A_MINUTE or self._clock.monotonic() - self._opened_s[0] >= 60.0

    def _open(self, one: Listing, age_ns: int) -> None:
        log.info("listing source=%s id=%s coin=%s after_s=%.1f late=%s needs_body=%s title=%s", one.source, one.notice_id,
                 one.symbol, age_ns / NS_PER_S, age_ns > self.fresh_ns, one.needs_body, printable(one.title))
        self._stats.add("listing_detected_total", source=self._source)
        self._on_listing(one)

    def store(self) -> None:
        """Make durable what is not yet. Raises StorageError: then the notices taken since the last time must be taken again."""
        unopened, self._unopened = list(self._unopened.values()), {}
        refused, self._refused = self._refused, None
        if refused is not None:
            raise refused
        for key, one in list(self._owed.items()):
            self._call(self._memory.remember_listing, one)
            del self._owed[key]
        if unopened:
            self._call(self._memory.remember_unopened, unopened, TOO_MANY)
            self._too_many += len(unopened)
            self._first_unopened = self._first_unopened or f"{unopened[0].notice_id} {unopened[0].symbol}"
            self._stats.add("listing_not_opened_total", len(unopened), source=self._source)

    def log_not_opened(self) -> None:
        """Log in a line what was not opened since the last time, and what was too old."""
        if self._too_many:
            log.warning("listings not opened source=%s coins=%d first=%s reason=too many at once", self._source,
                        self._too_many, self._first_unopened)
        if self._too_old:
            log.info("listings too old, their trades are not kept so long source=%s coins=%d first=%s", self._source,
                     self._too_old, self._first_old)
        self._too_many = self._too_old = 0
        self._first_unopened = self._first_old = ""
