"""The ledger's methods for the listing stage: notices as last seen, listings, and their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from pumpwatch.model import Listing, Notice
from pumpwatch.store.evidence import Evidence
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.listed import ListingRecord
from pumpwatch.store.sights import Sight

T = TypeVar("T")


class Call(Protocol):
    """Run a function where it may block, and return its result."""

    def __call__(self, function: Callable[..., T], /, *args: Any) -> T: ...


def call_here(function: Callable[..., T], /, *args: Any) -> T:
    """Run a function in the caller's thread, as tests and commands do."""
    return function(*args)


class ListingLedger:
    """Calls the ledger's methods where they may block. A record is durable when its method returns.

    call: runs a method, for example in the ledger's thread. Every method raises StorageError. member: the name of this collector
    in a cluster.
    """

    def __init__(self, ledger: Ledger, call: Call = call_here, member: str = "") -> None:
        self._ledger, self._call = ledger, call
        self._seen_by = (member,) if member else ()

    def notice_count(self, source: str) -> int:
        """Return how many notices of a source are known; 0 until `first_look_done`."""
        return self._call(self._ledger.notice_count, source)

    def first_look_done(self, source: str) -> None:
        """Record that every notice of a first look is stored."""
        self._call(self._ledger.first_look_done, source)

    def seen_notices(self, source: str, notice_ids: Sequence[str]) -> dict[str, str]:
        """Return the last stored revision of each known notice, by id."""
        return self._call(self._ledger.seen_notices, source, notice_ids)

    def remember_notices(self, notices: Sequence[tuple[Notice, str, str]]) -> None:
        """Store notices as last seen, each with the kind of its verdict and its revision, in one transaction."""
        self._call(self._ledger.remember_notices, notices)

    def forget_notices(self, source: str, keep: int) -> None:
        """Delete all but the newest `keep` notices of a source, and of its listings without a window."""
        self._call(self._ledger.forget_notices, source, keep)

    def remember_listing(self, listing: Listing) -> bool:
        """Store a sight of a listing; return whether it is the first one, so that the listing is new."""
        return self._call(self._ledger.remember_listing, listing, *self._seen_by)

    def remember_missed(self, listing: Listing, problem: str) -> bool:
        """Like `remember_listing`, for a listing that gets no window. problem: the reason."""
        return self._call(self._ledger.remember_missed, listing, problem, *self._seen_by)

    def first_sight(self, listing: Listing) -> Sight | None:
        """Return the earliest sight of a listing; None if it is unknown."""
        return self._call(self._ledger.first_sight, listing)

    def sights_of(self, listing: Listing) -> list[Sight]:
        """Return the sights of a listing, earliest first."""
        return self._call(self._ledger.sights_of, listing)

    def keep_evidence(self, rows: Sequence[Evidence]) -> None:
        """Store evidence; rows that belong to no sight of a listing are ignored."""
        self._call(self._ledger.keep_evidence, rows)

    def evidence_of(self, listing: Listing) -> list[Evidence]:
        """Return the evidence of a listing, oldest first."""
        return self._call(self._ledger.evidence_of, listing)

    def edit_sights(self, notice: Notice, seen_at_ns: int) -> None:
        """Record an edit of a notice that is a sight of a listing; ignore any other notice."""
        self._call(self._ledger.edit_sights, notice, seen_at_ns)

    def remember_unopened(self, listings: Sequence[Listing], problem: str) -> None:
        """Store listings that get no window. problem: the reason."""
        self._call(self._ledger.remember_unopened, listings, problem)

    def finish_listing(self, listing: Listing, archive: str, trades: int, problem: str = "") -> None:
        """Record a listing's archive and its number of trades, or the problem because of which there is no usable archive."""
        self._call(self._ledger.finish_listing, listing.source, listing.notice_id, listing.symbol, archive, trades, problem)

    def listings(self) -> Sequence[ListingRecord]:
        """Return every listing with its result, by the time of detection."""
        return self._call(self._ledger.listings)
