"""The content of one pass over a window: everything that an archive is made of, before it is written.

If several collectors share the reading, each has a part of a window's trades. Then `Sharing` joins the parts
of the others with its own before the archive is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pumpwatch.catalogue import Catalogue
from pumpwatch.listing.archive import Span
from pumpwatch.listing.books import VenueBooks
from pumpwatch.listing.manifest import MemberRow
from pumpwatch.model import Gap, Listing, TradeBatch
from pumpwatch.store.query import QueryPart


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowContent:
    """Everything that one pass writes. problems: why trades may be missing. unlisted: venues whose instrument list is not there.

    members: the collectors whose parts are in it, and those whose parts are missing; none where a collector is alone. made_by:
    the one that joined them.
    """

    span: Span
    batch: TradeBatch
    catalogue: Catalogue
    parts: Sequence[QueryPart] = ()
    gaps: Sequence[Gap] = ()
    unlisted: Sequence[str] = ()
    books: Sequence[VenueBooks] = ()
    problems: Sequence[str] = ()
    made_by: str = ""
    members: tuple[MemberRow, ...] = ()


class Sharing(Protocol):
    """Joins the parts of several collectors. No method raises for an error of the way between them."""

    def waits(self, listings: Sequence[Listing]) -> bool:
        """Return whether the first archive of these listings waits a little longer for the parts of others. Returns at once."""

    def join(self, content: WindowContent, path: Path, final: bool) -> WindowContent:
        """Give one's own part to the others, and return what the archive at this path is made of; the greenlet waits."""


class NoSharing:
    """Shares nothing: one collector has all."""

    def waits(self, listings: Sequence[Listing]) -> bool:
        """Return False."""
        return False

    def join(self, content: WindowContent, path: Path, final: bool) -> WindowContent:
        """Return the content."""
        return content
