"""Choose the segments that expire: those past their retention time, and the oldest if the journal is too large."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Gap, GapState
from pumpwatch.store.bounds import of_segment
from pumpwatch.store.damage import Damage
from pumpwatch.store.manifest import SegmentManifest
from pumpwatch.store.segment import Segment

SAMPLES, SAMPLED_S = 101, 600.0
MOST_SPAN_S = 3600.0  # a longer span means that the clock was stepped
EARLY = "removed before store.retention_hours: the journal reached store.max_bytes, or its disk was full"


@dataclass(frozen=True, slots=True)
class Removed:
    """A segment that expires. early: before its time, because of the size. span_s: until the next segment was created."""

    segment: Segment
    early: bool
    span_s: float

    @property
    def path(self) -> Path:
        """The segment's file."""
        return self.segment.path


def choose(segments: Sequence[Segment], before_ns: int, max_bytes: int, acknowledged: int | None,
           span_s: float, counted: int | None = None) -> list[Removed]:
    """Return the segments that expire, oldest first: those that ended before `before_ns`, and more until the rest fits.

    By age, at most as much expires as was written in `span_s`. acknowledged: the last batch up to which every sink has
    everything; None without sinks. counted: segments with later batches do not expire by age; None: all may expire.
    """
    newest = next((segment for segment in reversed(segments) if segment.readable), None)
    size = sum(segment.size_bytes() for segment in segments)
    chosen: list[Removed] = []
    in_order = sorted(segments, key=lambda segment: (segment.first_id, segment.ordinal))
    for segment, following in pairwise([*in_order, in_order[-1]] if in_order else []):
        if segment is newest or (segment.readable and acknowledged is not None and acknowledged < segment.last_id):
            continue
        span = min(max(0.0, (following.created_ns - segment.created_ns) / NS_PER_S), MOST_SPAN_S)
        removed = Removed(segment, ended_ns(segment) >= before_ns, span)
        counts = not segment.readable or counted is None or segment.last_id <= counted
        if not removed.early and counts and span_s >= removed.span_s:
            span_s -= removed.span_s
        elif size <= max_bytes or not segment.readable:
            continue
        size -= segment.size_bytes()
        chosen.append(removed)
    return chosen


def ended_ns(segment: Segment) -> int:
    """Return when a segment ended, in ns: the latest of its trades' own times and times of receipt."""
    return max(segment.last_received, segment.last_timestamp) if segment.trades else segment.created_ns


class NewestTrades:
    """Derives the time from the newest trades, so that retention depends neither on our clock nor on a few wrong trades."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque(maxlen=SAMPLES)

    def record(self, monotonic_s: float, timestamp_ns: int) -> None:
        """Add the oldest timestamp of a batch that was just stored."""
        self._samples.append((monotonic_s, timestamp_ns))

    def ns(self) -> int:
        """Return the median timestamp of the last minutes in which trades were stored, in ns; 0 before the first."""
        if not self._samples:
            return 0
        since_s = self._samples[-1][0] - SAMPLED_S
        return statistics.median_low(at_ns for stored_s, at_ns in self._samples if stored_s >= since_s)


def record_early(damage: Damage, manifest: SegmentManifest, removed: Sequence[Removed], before_ns: int) -> None:
    """Record segments that expire early as one gap per venue, which grows with each such segment."""
    spans = [of_segment(early.segment) for early in removed if early.segment.trades]
    if not spans:
        return
    if manifest.removed_early_from_ns < before_ns:
        manifest.removed_early_from_ns = min(first for first, _ in spans)
    damage.record_gaps(Gap(exchange=exchange, market_type=market_type, from_ns=manifest.removed_early_from_ns,
                   to_ns=max(end for _, end in spans), reason=EARLY, state=GapState.LOST)
               for exchange, market_type in sorted({venue for early in removed for venue in early.segment.venues}))
