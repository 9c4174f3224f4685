"""The ledger of listing sources in a cluster: everything that it stores is also published to the other members.

News is published in the order of storing, once it is durable. So a notice counts as processed elsewhere only after its listings
are known there. If the ledger fails, a fresh listing is published all the same (`publish_listing`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pumpwatch.cluster.news import EditedNews, FirstLookNews, News, NoticesNews, ShownNews, SightNews, lean
from pumpwatch.listing.listing_ledger import Call, ListingLedger, call_here
from pumpwatch.model import Listing, Notice
from pumpwatch.store.evidence import Evidence
from pumpwatch.store.ledger import Ledger

PUBLISHED_MAX = 10_000
ROWS = 200  # of one message


class SharingLedger(ListingLedger):
    """A ledger that publishes its changes. publish: must neither wait nor raise."""

    def __init__(self, ledger: Ledger, member: str, publish: Callable[[News], None], call: Call = call_here) -> None:
        super().__init__(ledger, call, member)
        self._publish = publish
        self._published: dict[tuple[str, str, str], None] = {}

    def publish_listing(self, listing: Listing, problem: str = "") -> None:
        """Publish a sight, once."""
        if listing.key in self._published:
            return
        self._published[listing.key] = None
        while len(self._published) > PUBLISHED_MAX:
            del self._published[next(iter(self._published))]
        self._publish(SightNews(listing, problem))

    def remember_listing(self, listing: Listing) -> bool:
        """Store a sight, and publish it."""
        first = super().remember_listing(listing)
        self.publish_listing(listing)
        return first

    def remember_missed(self, listing: Listing, problem: str) -> bool:
        """Store a sight that opens no window, and publish it."""
        first = super().remember_missed(listing, problem)
        self.publish_listing(listing, problem)
        return first

    def remember_notices(self, notices: Sequence[tuple[Notice, str, str]]) -> None:
        """Store notices, and publish them."""
        super().remember_notices(notices)
        for source in dict.fromkeys(notice.source for notice, _, _ in notices):
            rows = [(lean(notice), kind, revision) for notice, kind, revision in notices if notice.source == source]
            for start in range(0, len(rows), ROWS):
                self._publish(NoticesNews(source, tuple(rows[start:start + ROWS])))

    def first_look_done(self, source: str) -> None:
        """Record the first look at a board, and publish it."""
        super().first_look_done(source)
        self._publish(FirstLookNews(source))

    def keep_evidence(self, rows: Sequence[Evidence]) -> None:
        """Store evidence, and publish it."""
        super().keep_evidence(rows)
        if rows:
            self._publish(ShownNews(tuple(rows)))

    def edit_sights(self, notice: Notice, seen_at_ns: int) -> None:
        """Record the edit of a notice, and publish it."""
        super().edit_sights(notice, seen_at_ns)
        self._publish(EditedNews(lean(notice), seen_at_ns))
