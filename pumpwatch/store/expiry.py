"""Which segments may go: those that are past their time, and the oldest where all take too much room."""

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
MOST_SPAN_S = 3600.0  # by clocks that may have stepped
EARLY = "removed before store.retention_hours: the journal reached store.max_bytes"


@dataclass(frozen=True, slots=True)
class Removed:
    """A segment that goes. `early`: not for its age. `span_s`: the time it stands for, until the next one was made."""

    segment: Segment
    early: bool
    span_s: float

    @property
    def path(self) -> Path:
        """The file."""
        return self.segment.path


def choose(segments: Sequence[Segment], before_ns: int, max_bytes: int, acknowledged: int | None,
           span_s: float) -> list[Removed]:
    """Return what goes, oldest first: what ended before `before_ns`, as much as was written in `span_s`, and what is too much.

    `acknowledged`: up to which batch every sink has everything; None without sinks.
    """
    newest = next((one for one in reversed(segments) if one.readable), None)
    size = sum(one.size_bytes() for one in segments)
    chosen: list[Removed] = []
    in_order = sorted(segments, key=lambda one: (one.first_id, one.ordinal))
    for one, following in pairwise([*in_order, in_order[-1]] if in_order else []):
        if one is newest or (one.readable and acknowledged is not None and acknowledged < one.last_id):
            continue
        span = min(max(0.0, (following.created_ns - one.created_ns) / NS_PER_S), MOST_SPAN_S)
        removed = Removed(one, _ended_ns(one) >= before_ns, span)
        if not removed.early and span_s >= removed.span_s:
            span_s -= removed.span_s
        elif size <= max_bytes or not one.readable:
            continue
        size -= one.size_bytes()
        chosen.append(removed)
    return chosen


def _ended_ns(segment: Segment) -> int:
    """Return when a segment ended, by the trades' own clocks and ours; where they differ, the later one counts."""
    return max(segment.last_received, segment.last_timestamp) if segment.trades else segment.created_ns


class NewestTrades:
    """Tells the time by the newest trades, so that neither our clock nor a few trades stamped ahead are believed alone."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque(maxlen=SAMPLES)

    def record(self, monotonic_s: float, timestamp_ns: int) -> None:
        """Take the oldest time of trades that were stored just now."""
        self._samples.append((monotonic_s, timestamp_ns))

    def ns(self) -> int:
        """Return the median of what was stored in the last minutes in which trades came; 0 before the first."""
        if not self._samples:
            return 0
        since_s = self._samples[-1][0] - SAMPLED_S
        return statistics.median_low(at_ns for stored_s, at_ns in self._samples if stored_s >= since_s)


def note_early(damage: Damage, manifest: SegmentManifest, removed: Sequence[Removed], before_ns: int) -> None:
    """Record what goes before its time as a gap a venue, which grows with the next one."""
    spans = [of_segment(one.segment) for one in removed if one.segment.trades]
    if not spans:
        return
    if manifest.removed_early_from_ns < before_ns:
        manifest.removed_early_from_ns = min(first for first, _ in spans)
    damage.add(Gap(exchange=exchange, market_type=market_type, from_ns=manifest.removed_early_from_ns,
                   to_ns=max(end for _, end in spans), reason=EARLY, state=GapState.LOST)
               for exchange, market_type in sorted({venue for one in removed for venue in one.segment.venues}))
