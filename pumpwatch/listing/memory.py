"""What the listing stage needs remembered across restarts. The ledger provides it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from pumpwatch.model import Listing, Notice

T = TypeVar("T")


class Remembered(Protocol):
    """A listing and what became of it: trades is None until its archive is written; problem: why it cannot be relied on."""

    @property
    def listing(self) -> Listing: ...
    @property
    def archive(self) -> str: ...
    @property
    def trades(self) -> int | None: ...
    @property
    def problem(self) -> str: ...


class ListingMemory(Protocol):
    """Durable when it returns; raises StorageError when the disk refuses."""

    def notice_count(self, source: str) -> int:
        """Return how many notices of a source are known: 0 before a first look, which `first_look_done` ends."""

    def first_look_done(self, source: str) -> None:
        """Note that all a first look showed is remembered."""

    def seen_notices(self, source: str, notice_ids: Sequence[str]) -> dict[str, str]:
        """Return the revision last remembered of each notice that is known."""

    def remember_notices(self, notices: Sequence[tuple[Notice, str, str]]) -> None:
        """Store notices as last seen, each with the kind of its verdict and its revision: all of them or none."""

    def remember_listing(self, listing: Listing) -> bool:
        """Store a listing; False, and no change, where it is known."""

    def remember_unopened(self, listings: Sequence[Listing], problem: str) -> None:
        """Store listings for which no window is opened, with the reason."""

    def finish_listing(self, source: str, notice_id: str, symbol: str, archive: str, trades: int,
                       problem: str = "") -> None:
        """Say where a listing's archive is and how many trades are in it, or why there is none to rely on."""

    def listings(self, unfinished_only: bool = False) -> Sequence[Remembered]:
        """Return the listings by the time they were detected."""

    def forget_notices(self, source: str, keep: int) -> None:
        """Forget all but the newest `keep` notices of a source, and of its listings that opened no window."""


class Call(Protocol):
    """Runs a blocking function where it may block (the ledger's worker thread) and returns its result."""

    def __call__(self, function: Callable[..., T], /, *args: Any) -> T: ...


def call_here(function: Callable[..., T], /, *args: Any) -> T:
    """Run it in the caller's thread: right for tests and for commands."""
    return function(*args)
