"""Shares windows between the members of a cluster: `listing.window_content.Sharing` over Redis.

Every member stores its part at each pass that has something new. The leader joins all parts in its archive; the others keep an
archive of their own part. Before its first archive the leader waits a moment for the parts of the living members. A later part,
from a member that was down, makes the leader write the archive again; so does a change of the leader.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.cluster.news import News, PartNews
from pumpwatch.cluster.part_codec import PartFacts, Reading, WindowPart
from pumpwatch.cluster.window_merge import alone, merge
from pumpwatch.cluster.window_parts import WindowParts, window_name
from pumpwatch.listing.archive_writer import lean_copy
from pumpwatch.listing.listing_ledger import Call, call_here
from pumpwatch.listing.manifest import MISSING_PART, read_manifest
from pumpwatch.listing.window_content import WindowContent
from pumpwatch.model import Listing
from pumpwatch.printable import printable
from pumpwatch.redis.errors import RedisUnavailable

log = logging.getLogger(__name__)

WAIT_S = 5.0  # the leader's first archive waits at most this long for the parts of living members
KNOWN_MAX = 1000  # windows
SAME_WINDOW_NS = 120 * NS_PER_S  # members may have different times for a listing without a published time
NOT_PUT = "it has not given its part"

Reads = Callable[[str, Sequence[tuple[int, int]]], tuple[Reading, ...] | None]


def announced_of(listings: Sequence[Listing]) -> int:
    """Return the time of the first announcement."""
    return min(listing.announced_at_ns for listing in listings)


class Membership(Protocol):
    """The members of the cluster, as a window sees them."""

    def leads(self) -> bool:
        """Return whether this member joins the parts."""

    def leader(self) -> str:
        """Return the member that joins the parts, empty if unknown."""

    def alive(self) -> set[str]:
        """Return the names of the living members, including this one."""


@dataclass(slots=True)
class _Window:
    """The state of one window here. expected: the members that were alive while it was open. put: describes the last part."""

    expected: set[str] = field(default_factory=set)
    came: dict[str, int] = field(default_factory=dict)  # member -> announcement of the window whose part it has stored
    used: dict[str, int] = field(default_factory=dict)  # member -> the time of its part that is in the archive
    waits_for_ns: int = 0  # the window of this announcement
    waits_until_s: float = 0.0
    put: tuple[object, ...] = ()


class WindowSharing:
    """The windows of one member.

    publish: publishes news. reads: returns which symbols of a coin are read here, and when. not_put: the windows whose part is
    not in Redis, because it was away.
    """

    def __init__(self, parts: WindowParts, membership: Membership, reads: Reads, publish: Callable[[News], None], clock: Clock,
                 offload: Call = call_here) -> None:
        self._parts, self._membership, self._reads, self._publish = parts, membership, reads, publish
        self._clock, self._offload = clock, offload
        self._windows: dict[str, _Window] = {}
        self.not_put: set[str] = set()

    def began(self, listings: Sequence[Listing]) -> None:
        """Record the living members while a window is open; each is expected to store a part."""
        self._window(listings)

    def _window(self, listings: Sequence[Listing]) -> _Window:
        name = window_name(listings)
        window = self._windows.get(name)
        if window is None:
            window = self._windows[name] = _Window()
            while len(self._windows) > KNOWN_MAX:
                del self._windows[next(iter(self._windows))]
        window.expected |= self._membership.alive()
        return window

    def waits(self, listings: Sequence[Listing]) -> bool:
        """Return whether the leader's first archive waits for the part of a living member."""
        if not self._membership.leads():
            return False
        window, now_s = self._window(listings), self._clock.monotonic()
        at_ns = announced_of(listings)
        if window.waits_for_ns != at_ns:
            window.waits_for_ns, window.waits_until_s = at_ns, now_s + WAIT_S
        came = {member for member, came_ns in window.came.items() if abs(came_ns - at_ns) <= SAME_WINDOW_NS}
        return bool(self._membership.alive() - {self._parts.member} - came) and now_s < window.waits_until_s

    def join(self, content: WindowContent, path: Path, final: bool) -> WindowContent:
        """Store this member's part, and return the content of its archive: of all parts if it leads."""
        window = self._window(content.span.listings)
        name = window_name(content.span.listings)
        own = self._offload(self._own_part, content, final)
        self._put(name, window, own)
        if not self._membership.leads():
            return self._offload(alone, own, self._membership.leader(), content.span.name)
        missing = {member: NOT_PUT for member in window.expected if member != self._parts.member}
        others: list[WindowPart] = []
        try:
            others, damaged = self._parts.gather(name, content.span.intervals)
            missing |= damaged
        except RedisUnavailable as error:
            missing = dict.fromkeys(missing, f"Redis was away: {error.message}")
        for part in others:
            missing.pop(part.facts.member, None)
            window.used[part.facts.member] = part.facts.made_at_ns
        archived = self._offload(read_manifest, path)
        for row in archived.members if archived else ():
            if row.state == MISSING_PART and row.member not in window.used:
                missing.setdefault(row.member, NOT_PUT)
        joined = self._offload(merge, own, others, missing, archived, content.span.name)
        log.info("parts of a window joined coin=%s members=%s missing=%s trades=%d", content.span.coin,
                 ",".join(row.member for row in joined.members), ",".join(sorted(missing)) or "none", len(joined.batch))
        return joined

    def _own_part(self, content: WindowContent, final: bool) -> WindowPart:
        rows, batch = lean_copy(content.catalogue, content.span.coin, content.batch)
        span = content.span
        return WindowPart(PartFacts(
            member=self._parts.member, made_at_ns=self._clock.now_ns(), coin=span.coin, listings=tuple(span.listings),
            intervals=tuple(span.intervals), instruments=tuple(rows), final=final, late=span.late, seen=tuple(span.seen),
            gaps=tuple(content.gaps), sources=tuple(content.parts), unlisted=tuple(content.unlisted),
            problems=tuple(content.problems), reads=self._reads(span.coin, span.intervals)), batch, content.books)

    def _put(self, name: str, window: _Window, own: WindowPart) -> None:
        facts = own.facts
        state = (len(own.batch), facts.final, facts.listings, facts.intervals, facts.gaps, facts.reads,
                 sum(len(books.snapshots) for books in own.books))
        if window.put == state:
            return
        try:
            entry = self._parts.put(name, own)
        except RedisUnavailable as error:
            if not self.not_put:
                log.warning("part of a window waits for Redis coin=%s reason=%s", facts.coin, printable(error.message))
            self.not_put.add(name)
            return
        self.not_put.discard(name)
        window.put = state
        self._publish(PartNews(name, entry.made_at_ns, announced_of(facts.listings), entry.final))

    def part_arrived(self, member: str, news: PartNews) -> bool:
        """Record that a member has stored a part; return whether to write the archive of that window again here."""
        window = self._windows.setdefault(news.window, _Window())
        window.came[member] = news.at_ns
        return self._membership.leads() and window.used.get(member) != news.made_at_ns
