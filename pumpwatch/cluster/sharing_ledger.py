"""The ledger as the sources of listings use it in a cluster: what it stores is told to the other members as well.

It is told in the order in which it is stored here, once it is durable. So a notice counts as dealt with elsewhere only after its
listings are known there. Where the ledger fails, a fresh listing is told all the same (`tell_listing`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pumpwatch.cluster.news import EditedNews, FirstLookNews, News, NoticesNews, ShownNews, SightNews, lean
from pumpwatch.listing.listing_ledger import Call, ListingLedger, call_here
from pumpwatch.model import Listing, Notice
from pumpwatch.store.evidence import Evidence
from pumpwatch.store.ledger import Ledger

TOLD_MAX = 10_000
ROWS = 200  # of one message


class SharingLedger(ListingLedger):
    """A ledger that tells. tell must neither wait nor raise."""

    def __init__(self, ledger: Ledger, member: str, tell: Callable[[News], None], call: Call = call_here) -> None:
        super().__init__(ledger, call, member)
        self._tell = tell
        self._told: dict[tuple[str, str, str], None] = {}

    def tell_listing(self, listing: Listing, problem: str = "") -> None:
        """Tell a sight, once."""
        if listing.key in self._told:
            return
        self._told[listing.key] = None
        while len(self._told) > TOLD_MAX:
            del self._told[next(iter(self._told))]
        self._tell(SightNews(listing, problem))

    def remember_listing(self, listing: Listing) -> bool:
        """Store a sight, and tell it."""
        first = super().remember_listing(listing)
        self.tell_listing(listing)
        return first

    def remember_missed(self, listing: Listing, problem: str) -> bool:
        """Store a sight that opens no window, and tell it."""
        first = super().remember_missed(listing, problem)
        self.tell_listing(listing, problem)
        return first

    def remember_notices(self, notices: Sequence[tuple[Notice, str, str]]) -> None:
        """Store notices, and tell them."""
        super().remember_notices(notices)
        for source in dict.fromkeys(notice.source for notice, _, _ in notices):
            rows = [(lean(notice), kind, revision) for notice, kind, revision in notices if notice.source == source]
            for start in range(0, len(rows), ROWS):
                self._tell(NoticesNews(source, tuple(rows[start:start + ROWS])))

    def first_look_done(self, source: str) -> None:
        """Record it, and tell it."""
        super().first_look_done(source)
        self._tell(FirstLookNews(source))

    def keep_evidence(self, rows: Sequence[Evidence]) -> None:
        """Store it, and tell it."""
        super().keep_evidence(rows)
        if rows:
            self._tell(ShownNews(tuple(rows)))

    def edit_sights(self, notice: Notice, seen_at_ns: int) -> None:
        """Record it, and tell it."""
        super().edit_sights(notice, seen_at_ns)
        self._tell(EditedNews(lean(notice), seen_at_ns))
