"""`notice.json` of an archive: the notices, and the content that each source showed, unchanged.

    {"format": ..., "coin": ...,
     "notices": [...],   the listings of the archive, each with the times of publication, detection and trigger
     "sights": [{        each source that saw one of them, earliest first
       "source", "notice_id", "kind", "exchange", "title", "published_at_ns", "seen_at_ns", "behind_ms": since the earliest sight,
       "edits", "edited_at_ns", "member": the collector that saw it, in a cluster,
       "shown": [{"event": "seen", "edited" or "body", "at_ns", "raw": the unchanged row or message,
                  "answer": `answer_facts`, or null for a message that was pushed,
                  "text", "markets", "starts_ns": of a body}]}]}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pumpwatch.clock import NS_PER_MS
from pumpwatch.listing.manifest import iso
from pumpwatch.model import Listing
from pumpwatch.store.evidence import Evidence
from pumpwatch.store.sights import Sight

FORMAT = "pumpwatch.notice/2"


class SightLedger(Protocol):
    """The ledger's methods for sights and evidence."""

    def sights_of(self, listing: Listing) -> list[Sight]:
        """Return the sights of a listing, earliest first."""

    def evidence_of(self, listing: Listing) -> list[Evidence]:
        """Return the evidence of its sources, oldest first."""


@dataclass(frozen=True, slots=True)
class ShownSight:
    """A sight of a listing, with its evidence."""

    sight: Sight
    shown: tuple[Evidence, ...]


def seen_of(ledger: SightLedger, listings: Sequence[Listing]) -> list[ShownSight]:
    """Return all sights of these listings, earliest first. Raises StorageError."""
    found: list[ShownSight] = []
    for listing in listings:
        evidence = ledger.evidence_of(listing)
        for sight in ledger.sights_of(listing):
            shown = tuple(row for row in evidence if (row.source, row.notice_id) == (sight.source, sight.notice_id))
            found.append(ShownSight(sight, shown))
    return sorted(found, key=lambda seen: (seen.sight.seen_at_ns, seen.sight.source, seen.sight.notice_id))


def notice_rows(listings: Sequence[Listing]) -> list[dict[str, Any]]:
    """Return the notices, each with the times of publication, detection and trigger."""
    return [{
        "source": listing.source, "notice_id": listing.notice_id, "title": listing.title, "drill": listing.drill,
        "needs_body": listing.needs_body,
        "announced_at_ns": listing.announced_at_ns, "announced_at": iso(listing.announced_at_ns),
        "detected_at_ns": listing.detected_at_ns, "detected_at": iso(listing.detected_at_ns),
        "triggered_at_ns": listing.triggered_at_ns, "triggered_at": iso(listing.triggered_at_ns),
        "detected_after_ms": (listing.detected_at_ns - listing.announced_at_ns) / NS_PER_MS,
        "triggered_after_ms": (listing.triggered_at_ns - listing.announced_at_ns) / NS_PER_MS,
    } for listing in listings]


def notice_object(coin: str, listings: Sequence[Listing], seen: Sequence[ShownSight]) -> dict[str, Any]:
    """Return the content of `notice.json`."""
    first_ns = min((found.sight.seen_at_ns for found in seen), default=0)
    return {"format": FORMAT, "coin": coin, "notices": notice_rows(listings), "sights": [{
        "source": sight.source, "notice_id": sight.notice_id, "kind": sight.kind, "exchange": sight.exchange,
        "title": sight.title, "published_at_ns": sight.published_at_ns, "seen_at_ns": sight.seen_at_ns,
        "seen_at": iso(sight.seen_at_ns), "behind_ms": (sight.seen_at_ns - first_ns) / NS_PER_MS,
        "edits": sight.edits, "edited_at_ns": sight.edited_at_ns, **({"member": sight.member} if sight.member else {}),
        "shown": [{"event": row.event, "at_ns": row.at_ns, "at": iso(row.at_ns), **row.facts} for row in shown],
    } for sight, shown in ((found.sight, found.shown) for found in seen)]}
