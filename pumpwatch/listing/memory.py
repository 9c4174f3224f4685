"""What the listing stage needs remembered across restarts. The ledger provides it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from pumpwatch.model import Listing, Notice

T = TypeVar("T")


class Remembered(Protocol):
    """A listing and what became of it: trades is None until its archive is written."""

    @property
    def listing(self) -> Listing: ...
    @property
    def archive(self) -> str: ...
    @property
    def trades(self) -> int | None: ...


class ListingMemory(Protocol):
    """Durable when it returns; raises StorageError when the disk refuses."""

    def notice_count(self, source: str) -> int:
        """Return how many notices of a source are known: 0 before its first poll."""

    def seen_notice(self, source: str, notice_id: str) -> str | None:
        """Return the revision last remembered, None for a notice never seen."""

    def remember_notice(self, notice: Notice, verdict_kind: str, revision: str) -> None:
        """Store a notice as last seen."""

    def remember_listing(self, listing: Listing) -> bool:
        """Store a listing; False, and no change, where it is known."""

    def finish_listing(self, source: str, notice_id: str, symbol: str, archive: str, trades: int) -> None:
        """Say where a listing's archive is, and how many trades are in it."""

    def listings(self, unfinished_only: bool = False) -> Sequence[Remembered]:
        """Return the listings by the time they were detected."""


class Call(Protocol):
    """Runs a blocking function where it may block (the ledger's worker thread) and returns its result."""

    def __call__(self, function: Callable[..., T], /, *args: Any) -> T: ...


def call_here(function: Callable[..., T], /, *args: Any) -> T:
    """Run it in the caller's thread: right for tests and for commands."""
    return function(*args)
