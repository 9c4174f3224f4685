"""One coin's window: when it ends, and when its archive, later looks and longer windows are due.

All waiting uses the monotonic clock, so a step of the wall clock neither ends a window early nor keeps it open for days. The
wall clock is read once, when a listing is added, to compute how much of its window is left.

If longer windows are configured, the window grows: the archive is first written at the end of the shortest window, and
extended at the end of each longer one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pumpwatch.clock import NS_PER_S
from pumpwatch.listing.archive import Archive
from pumpwatch.listing.context import Reach
from pumpwatch.listing.notice_file import ShownSight
from pumpwatch.model import Listing

SETTLE_S = 0.25  # wait after the end for trades in transit; longer if venues lag or trades wait for the disk
SETTLE_MAX_S = 60.0
LOOKS_S = (2.5, 10.0, 60.0, 600.0)  # times after the end at which the store is queried again for late trades

Interval = tuple[int, int]


def intervals_of(listings: Iterable[Listing], reach: Reach) -> list[Interval]:
    """Return the windows [from, to) in ns of these listings, merged and ascending."""
    before_ns, after_ns = int(reach.before_s * NS_PER_S), int(reach.after_s * NS_PER_S)
    return joined((at - before_ns, at + after_ns) for listing in listings
                  for at in (listing.announced_at_ns, listing.detected_at_ns))


def joined(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the union of intervals as disjoint ones, ascending."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def covers(intervals: Sequence[Interval], wanted: Sequence[Interval]) -> bool:
    """Return whether the intervals contain all the wanted ones."""
    return joined((*intervals, *wanted)) == joined(intervals)


class OpenWindow:
    """The window of one coin on one board, for one listing or several overlapping ones. Names ending in `_s`: monotonic times.

    board: the exchange that opens the market (`Listing.board`). name: of the archive's folder, empty until chosen. reaches: of
    the window and the longer ones. fresh_s: a listing seen later than this after its publication is late; sockets are not read
    more often for it. intervals, end_ns: of the present window, which is the next to end or the last one written. covered: the
    archive's intervals. seen: the sights of the listings as last read. complete: the archive covers the present window; until
    then it is due.
    """

    def __init__(self, coin: str, board: str, reaches: Sequence[Reach], fresh_s: float) -> None:
        self.coin, self.board = coin, board
        self.name = ""
        self._reaches, self._fresh_ns = reaches, int(fresh_s * NS_PER_S)
        self._stage = 0
        self.listings: list[Listing] = []
        self.covered: list[Interval] = []
        self.seen: Sequence[ShownSight] = ()
        self.late = True
        self._moment_s = self.added_s = float("-inf")  # of the last publication or detection, and of the last `add`
        self._quick: list[tuple[float, float]] = []
        self.next_s = float("-inf")  # no retry before this time
        self.tries = 0
        self.failures = 0
        self.written: Archive | None = None
        self.complete = False

    @property
    def intervals(self) -> list[Interval]:
        """Return the intervals of the present window, together with those of the archive."""
        return joined((*intervals_of(self.listings, self._reaches[self._stage]), *self.covered))

    @property
    def end_ns(self) -> int:
        """Return the present window's end, wall clock."""
        return self.intervals[-1][1]

    @property
    def end_s(self) -> float:
        """Return the present window's end."""
        return self._moment_s + self._reaches[self._stage].after_s

    @property
    def last_end_s(self) -> float:
        """Return the end of the longest window."""
        return self._moment_s + self._reaches[-1].after_s

    @property
    def due_s(self) -> float:
        """Return the earliest time of its next pass, or of the next window's end."""
        return self.next_s if self.complete else max(self.next_s, self.end_s + SETTLE_S)

    def add(self, listing: Listing, now_ns: int, now_s: float) -> None:
        """Add a listing: widen the window to include it, and make its archive due again.

        An earlier sight replaces a listing that was added before.
        """
        self.listings = [*(other for other in self.listings if other.key != listing.key), listing]
        self.name = ""
        late = listing.detected_at_ns - listing.announced_at_ns > self._fresh_ns
        self.late = self.late and late
        last_ns = max(listing.announced_at_ns, listing.detected_at_ns)
        ago_s = max(now_ns - last_ns, listing.detected_at_ns - last_ns) / NS_PER_S
        self._moment_s = max(self._moment_s, now_s - ago_s)
        self.added_s = now_s
        self._stage, self.complete = 0, False
        if not late:
            spans = [(now_s + (start - now_ns) / NS_PER_S, min(now_s + (end - now_ns) / NS_PER_S, self.end_s))
                     for start, end in intervals_of([listing], self._reaches[0])]
            self._quick = [(start, end) for start, end in (*self._quick, *spans) if now_s < end and start < end]
        self.tries, self.written, self.next_s = 0, None, float("-inf")

    def continue_with(self, archive: Archive, covered: Sequence[Interval]) -> None:
        """Continue an archive of an earlier run. covered: its intervals; empty if an old version wrote it."""
        self.written = archive
        self.covered = joined(covered) or intervals_of(self.listings, self._reaches[0])
        fitting = [stage for stage, reach in enumerate(self._reaches) if covers(self.covered, intervals_of(self.listings, reach))]
        self._stage, self.complete = max(fitting, default=0), bool(fitting)

    def grow(self, now_s: float) -> None:
        """Switch to the longest window that has ended, if it is longer than the present one."""
        ended = [stage for stage, reach in enumerate(self._reaches) if now_s >= self._moment_s + reach.after_s + SETTLE_S]
        if ended and ended[-1] > self._stage:
            self._stage, self.complete = ended[-1], False
            self.tries, self.next_s = 0, float("-inf")

    @property
    def drill(self) -> bool:
        """Return whether this is the window of a drill."""
        return self.listings[0].drill

    def has(self, listing: Listing) -> bool:
        """Return whether it has this listing, with this sight or an earlier one."""
        return any(other.key == listing.key and other.detected_at_ns <= listing.detected_at_ns for other in self.listings)

    def overlaps(self, listing: Listing) -> bool:
        """Return whether a listing has the same coin and board, and its shortest window overlaps. Drills join only drills."""
        if (listing.symbol, listing.board, listing.drill) != (self.coin, self.board, self.drill):
            return False
        return any(start <= to and since <= end for start, end in intervals_of(self.listings, self._reaches[0])
                   for since, to in intervals_of([listing], self._reaches[0]))

    def quick_at(self, now_s: float) -> bool:
        """Return whether to read sockets more often now: within the shortest window of a listing that was not late."""
        return any(start <= now_s < end for start, end in self._quick)

    def since_end_s(self, now_s: float) -> float:
        """Return the seconds since the present window's end, negative before it."""
        return now_s - self.end_s

    def ready(self, now_s: float, behind_s: float, unlisted: bool) -> bool:
        """Return whether its archive may be written: its trades should be stored by now, or SETTLE_MAX_S has passed.

        behind_s: how long a trade now takes from the venue to the store. unlisted: some instrument lists have not arrived yet.
        """
        since_s = self.since_end_s(now_s)
        if since_s < SETTLE_S:
            return False
        if now_s - max(self.end_s, self.added_s) >= SETTLE_MAX_S:
            return True
        return not unlisted and since_s >= SETTLE_S + behind_s

    def next_look_s(self, after_s: float) -> float | None:
        """Return when to look again after a pass at `after_s`; None after the last pass.

        The end of a longer window counts as such a time.
        """
        looks = [self.end_s + look for look in LOOKS_S]
        looks += [self._moment_s + reach.after_s + SETTLE_S for reach in self._reaches[self._stage + 1:]]
        return min((look for look in looks if look > after_s), default=None)
