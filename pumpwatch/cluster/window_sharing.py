"""Share windows between the members of a cluster: `listing.window_content.Sharing` over Redis.

Every member gives its part at each pass that has something new. The leader joins all parts in its archive; the others keep an
archive of their own part. Before its first archive the leader waits a moment for the parts of the living members. A part that comes
later, from a member that was down, has the leader look again; so has a change of the leader.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pumpwatch.clock import Clock
from pumpwatch.cluster.news import News, PartNews
from pumpwatch.cluster.part_codec import PartFacts, Reading, WindowPart
from pumpwatch.cluster.window_merge import alone, merge
from pumpwatch.cluster.window_parts import TTL_S, WindowParts, window_name
from pumpwatch.listing.archive_writer import lean_copy
from pumpwatch.listing.listing_ledger import Call, call_here
from pumpwatch.listing.manifest import read_manifest
from pumpwatch.listing.window_content import WindowContent
from pumpwatch.model import Listing
from pumpwatch.printable import printable
from pumpwatch.redis.errors import RedisUnavailable

log = logging.getLogger(__name__)

WAIT_S = 5.0  # the leader's first archive waits at most so long for the parts of living members
KNOWN_MAX = 1000  # windows
NOT_PUT = "it has not given its part"

Reads = Callable[[str, Sequence[tuple[int, int]]], tuple[Reading, ...] | None]


class Membership(Protocol):
    """The members of the cluster, as a window sees them."""

    def leads(self) -> bool:
        """Return whether this member joins the parts."""

    def leader(self) -> str:
        """Return who joins the parts, empty where nobody is known."""

    def alive(self) -> set[str]:
        """Return the names of the living members, this one among them."""


@dataclass(slots=True)
class _Window:
    """What is known of one window here. put: of the part that was given last. seen: members that lived during the window."""

    listings: Sequence[Listing]
    path: Path | None = None
    expected: set[str] = field(default_factory=set)
    came: dict[str, int] = field(default_factory=dict)  # member -> made_at_ns
    waits_until_s: float = 0.0
    put: tuple[object, ...] = ()
    used: dict[str, int] = field(default_factory=dict)
    at_s: float = 0.0


class WindowSharing:
    """The windows of one member. tell publishes news; reads says which symbols of a coin are read here, and when."""

    def __init__(self, parts: WindowParts, membership: Membership, reads: Reads, tell: Callable[[News], None], clock: Clock,
                 offload: Call = call_here) -> None:
        self._parts, self._membership, self._reads, self._tell = parts, membership, reads, tell
        self._clock, self._offload = clock, offload
        self._windows: dict[str, _Window] = {}
        self._refused = False

    def began(self, listing: Listing) -> None:
        """Note who is alive while a window is open: all of them are expected to give a part."""
        self._window([listing])

    def _window(self, listings: Sequence[Listing]) -> _Window:
        name = window_name(listings)
        window = self._windows.get(name)
        if window is None:
            window = self._windows[name] = _Window(list(listings), waits_until_s=self._clock.monotonic() + WAIT_S)
            for listing in listings if len(listings) > 1 else ():
                if (single := self._windows.get(window_name([listing]))) is not None:
                    window.expected |= single.expected
            while len(self._windows) > KNOWN_MAX:
                del self._windows[next(iter(self._windows))]
        window.expected |= self._membership.alive()
        window.at_s = self._clock.monotonic()
        return window

    def waits(self, listings: Sequence[Listing]) -> bool:
        """Return whether the leader's first archive waits for the part of a living member."""
        if not self._membership.leads():
            return False
        known = window_name(listings) in self._windows
        window = self._window(listings)
        if not known or not window.put:
            window.put = window.put or (None,)
            window.waits_until_s = self._clock.monotonic() + WAIT_S
        lacking = self._membership.alive() & window.expected - {self._parts.member} - window.came.keys()
        return bool(lacking) and self._clock.monotonic() < window.waits_until_s

    def join(self, content: WindowContent, path: Path, final: bool) -> WindowContent:
        """Give this member's part, and return the content of its archive: of all parts where it leads."""
        window = self._window(content.span.listings)
        window.path = path
        name = window_name(content.span.listings)
        own = self._offload(self._own_part, content, final)
        self._put(name, window, own)
        if not self._membership.leads():
            return self._offload(alone, own, self._membership.leader(), content.span.name)
        missing = {member: NOT_PUT for member in window.expected if member != self._parts.member}
        others: list[WindowPart] = []
        try:
            others, damaged = self._parts.gather(name)
            missing |= damaged
        except RedisUnavailable as error:
            missing = dict.fromkeys(missing, f"Redis was away: {error.message}")
        for part in others:
            missing.pop(part.facts.member, None)
            window.used[part.facts.member] = part.facts.made_at_ns
        archived = self._offload(read_manifest, path)
        for row in archived.members if archived else ():
            if row.state == "merged":  # its trades are in the archive, whatever has become of its part
                missing.pop(row.member, None)
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
            if not self._refused:
                log.warning("part of a window waits for Redis coin=%s reason=%s", facts.coin, printable(error.message))
            self._refused = True
            return
        self._refused = False
        window.put = state
        self._tell(PartNews(name, entry.made_at_ns, entry.final))

    def part_came(self, member: str, news: PartNews) -> Sequence[tuple[Sequence[Listing], Path]]:
        """Note that a member has put a part. Return the windows that the leader is to look at again."""
        window = self._windows.get(news.window)
        if window is None:
            return []
        window.came[member] = max(news.made_at_ns, window.came.get(member, 0))
        if not self._membership.leads() or window.path is None or window.used.get(member) == news.made_at_ns:
            return []
        return [(window.listings, window.path)]

    def lately(self) -> list[tuple[Sequence[Listing], Path]]:
        """Return the windows whose parts may still be in Redis: a new leader looks at them again."""
        now_s = self._clock.monotonic()
        return [(window.listings, window.path) for window in self._windows.values()
                if window.path is not None and now_s - window.at_s < TTL_S]
