"""The content of one pass over a window: all inputs of its archive, before it is written.

In a cluster each collector has a part of a window's trades. `Sharing` joins the parts before the archive is written.
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
    """The inputs of one pass. problems: why trades may be missing. unlisted: venues whose instrument list has not arrived.

    members: the collectors whose parts are joined or missing; empty for a single collector. made_by: the one that joined them.
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
    """Joins the parts of several collectors. No method raises because of an error of their communication."""

    def waits(self, listings: Sequence[Listing]) -> bool:
        """Return whether to wait for the parts of others before the first archive of these listings. Does not block."""

    def join(self, content: WindowContent, path: Path, final: bool) -> WindowContent:
        """Send this collector's part to the others; return the joined content of the archive at `path`. The greenlet waits."""


class NoSharing:
    """Joins nothing: a single collector has all trades."""

    def waits(self, listings: Sequence[Listing]) -> bool:
        """Return False."""
        return False

    def join(self, content: WindowContent, path: Path, final: bool) -> WindowContent:
        """Return the content unchanged."""
        return content
