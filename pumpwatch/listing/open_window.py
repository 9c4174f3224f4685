"""One coin's window, and when its end, its archive and the later looks are due.

All waiting uses the monotonic clock: a step of the wall clock neither ends a window early nor keeps it open for days. The wall
clock is read once, when a listing is added, for how much of its window is left, which is at most the length of a window.
"""

from __future__ import annotations

from collections.abc import Iterable

from pumpwatch.clock import NS_PER_S
from pumpwatch.listing.archive import Archive
from pumpwatch.model import Listing

SETTLE_S = 3.0  # after the end, for trades under way; longer where venues lag or trades wait for the disk
SETTLE_MAX_S = 60.0
LOOKS_S = (60.0, 600.0)  # after the end: when the store is queried again for late trades

Interval = tuple[int, int]


def intervals_of(listings: Iterable[Listing], window_s: float) -> list[Interval]:
    """Return the [from, to) in ns that belong to these listings, merged and ascending."""
    reach = int(window_s * NS_PER_S)
    wanted = sorted((at - reach, at + reach) for listing in listings
                    for at in (listing.announced_at_ns, listing.detected_at_ns))
    merged: list[Interval] = []
    for start, end in wanted:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


class OpenWindow:
    """The window of one coin on one board, for one listing or for several that overlap. Times ending in `_s` are monotonic.

    board: the exchange that opens the market (`Listing.board`). name: of its archive's folder, empty until it is chosen.
    fresh_s: a listing seen later than this after its publication is late, and sockets are not read faster for it.
    """

    def __init__(self, coin: str, board: str, window_s: float, fresh_s: float) -> None:
        self.coin, self.board = coin, board
        self.name = ""
        self._window_s, self._fresh_ns = window_s, int(fresh_s * NS_PER_S)
        self.listings: list[Listing] = []
        self.intervals: list[Interval] = []
        self.late = True
        self.end_s = self.added_s = float("-inf")
        self.end_ns = 0
        self._quick: list[tuple[float, float]] = []
        self.next_s = float("-inf")  # nothing is tried again before this time
        self.tries = 0
        self.failures = 0
        self.written: Archive | None = None

    def add(self, listing: Listing, now_ns: int, now_s: float) -> None:
        """Add a listing: the window becomes as wide as all of them need, and its archive is to be written (again)."""
        self.listings.append(listing)
        self.name = ""
        self.intervals = intervals_of(self.listings, self._window_s)
        self.end_ns = self.intervals[-1][1]
        late = listing.detected_at_ns - listing.announced_at_ns > self._fresh_ns
        self.late = self.late and late
        own = intervals_of([listing], self._window_s)
        left_s = min((own[-1][1] - now_ns) / NS_PER_S, (own[-1][1] - listing.detected_at_ns) / NS_PER_S)
        self.end_s = max(self.end_s, now_s + left_s)
        self.added_s = now_s
        if not late:
            spans = [(now_s + (start - now_ns) / NS_PER_S, min(now_s + (end - now_ns) / NS_PER_S, self.end_s))
                     for start, end in own]
            self._quick = [(start, end) for start, end in (*self._quick, *spans) if now_s < end and start < end]
        self.tries, self.written, self.next_s = 0, None, float("-inf")

    @property
    def drill(self) -> bool:
        """Return whether its listings are drills."""
        return self.listings[0].drill

    def overlaps(self, listing: Listing) -> bool:
        """Return whether a listing of the same coin and board overlaps this window. A drill overlaps drills only."""
        return (listing.symbol, listing.board, listing.drill) == (self.coin, self.board, self.drill) and any(
            start <= to and since <= end for start, end in self.intervals
            for since, to in intervals_of([listing], self._window_s))

    def quick_at(self, now_s: float) -> bool:
        """Return whether sockets are to be read quickly now: inside an interval of a listing that was not seen late."""
        return any(start <= now_s < end for start, end in self._quick)

    def since_end_s(self, now_s: float) -> float:
        """Return the seconds since its end, negative before it."""
        return now_s - self.end_s

    def ready(self, now_s: float, behind_s: float, unlisted: bool) -> bool:
        """Return whether its archive may be written: its trades should be stored by now, or SETTLE_MAX_S have passed.

        behind_s: how long a trade takes from the venue to the store now. unlisted: some instrument lists have not arrived yet.
        """
        since_s = self.since_end_s(now_s)
        if since_s < SETTLE_S:
            return False
        if now_s - max(self.end_s, self.added_s) >= SETTLE_MAX_S:
            return True
        return not unlisted and since_s >= SETTLE_S + behind_s

    def next_look_s(self, after_s: float) -> float | None:
        """Return when to look again after a pass made at `after_s`, None where that was the last one."""
        since_s = self.since_end_s(after_s)
        return next((self.end_s + look for look in LOOKS_S if look > since_s), None)
