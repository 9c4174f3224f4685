"""Group the dependencies that the parts of the listing stage share, so that each takes few arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.config_listing import ListingConfig
from pumpwatch.listing.archive import Archive
from pumpwatch.listing.book_recorder import Books, NoBooks
from pumpwatch.listing.listing_ledger import ListingLedger
from pumpwatch.model import Gap, Listing
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store.query import QueryResult

FRESH_S = 600.0  # a listing seen later than this after its publication is late
KEPT_S = 48 * 3600.0

Query = Callable[[str, int, int], QueryResult]  # coin, from, to (ns); may raise ServiceUnavailable or StorageError
Gaps = Callable[[int, int], Sequence[Gap]]  # from, to (ns): the known gaps that overlap
Behind = Callable[[str], tuple[float, float]]  # coin: lag of its venues, age of the oldest trade not yet stored (both s)
Unlisted = Callable[[], Sequence[str]]  # returns the venues whose instrument list has not arrived yet


class Reach(NamedTuple):
    """The reach of a window, in seconds before and after the publication, and before and after the detection."""

    before_s: float = 20.0
    after_s: float = 20.0


def reaches_of(options: ListingConfig) -> tuple[Reach, ...]:
    """Return the reach of each window of a config, shortest first. Each contains the previous one."""
    return (Reach(options.before_s, options.after_s),
            *(Reach(window.before_s, window.after_s) for window in options.longer_windows))


def hasten_nothing(quick: bool) -> None:
    """Ignore the request."""


def ignore_archive(listing: Listing, archive: Archive, problems: Sequence[str]) -> None:
    """Ignore the archive."""


class Doubler(Protocol):
    """Reads a coin's trades on two connections of each venue while a window requests it."""

    def double(self, coin: str) -> None:
        """Read this coin on two connections from now on."""

    def release(self, coin: str) -> None:
        """Undo one `double`."""


class DoubleNothing:
    """Reads every coin on one connection."""

    def double(self, coin: str) -> None:
        """Ignore it."""

    def release(self, coin: str) -> None:
        """Ignore it."""


def record_nothing(records: Records) -> None:
    """Discard the records."""


def no_gaps(start_ns: int, end_ns: int) -> Sequence[Gap]:
    """Return no gap."""
    return ()


def never_behind(coin: str) -> tuple[float, float]:
    """Return no lag: every trade is stored immediately."""
    return 0.0, 0.0


def always() -> bool:
    """Return True."""
    return True


def never_paused() -> bool:
    """Return False: archives may be written."""
    return False


def all_listed() -> Sequence[str]:
    """Return no venue: every instrument list has arrived."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeContext:
    """The dependencies that all intakes of notices (boards, the inbox) share.

    on_listing: called once for each coin that gets a window. record: stores rejected rows. fresh_s: a listing seen later than
    this after its publication is late. kept_s: how long trades are kept; an older listing is only counted.
    """

    ledger: ListingLedger
    clock: Clock
    stats: Stats
    on_listing: Callable[[Listing], None]
    record: Callable[[Records], None] = record_nothing
    fresh_s: float = FRESH_S
    kept_s: float = KEPT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowContext:
    """The dependencies that all windows share.

    reaches: of the window and the longer ones, shortest first. paused: returns whether archives must wait because the disk is
    nearly full; due ones are written later.
    """

    ledger: ListingLedger
    clock: Clock
    stats: Stats
    catalogue: Catalogue
    archive_dir: Path
    reaches: Sequence[Reach] = (Reach(),)
    fresh_s: float = FRESH_S
    paused: Callable[[], bool] = never_paused


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeAccess:
    """The data that a window reads: trades of a coin, known gaps, how far storing is behind, and recorded order books."""

    query: Query
    gaps: Gaps = no_gaps
    behind: Behind = never_behind
    unlisted: Unlisted = all_listed
    books: Books = field(default_factory=NoBooks)
