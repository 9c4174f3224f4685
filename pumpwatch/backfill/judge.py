"""Judge whether a gap is closed, by the known rows of the store and of the history. Pure functions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from pumpwatch.backfill.pager import id_holes
from pumpwatch.model import GapState, Int64

BY_ID, BY_OVERLAP, BY_EMPTINESS, BY_NOTHING = "id", "overlap", "an empty history", "nothing"
UNKNOWN = -1  # number of missing trades
Span = tuple[int, int]  # first and last time of a part of the history
Range = tuple[int, int]  # first and last id


@dataclass(frozen=True, slots=True)
class GapVerdict:
    """The state of a gap: FILLED, LOST, or OPEN if a later answer may settle it. The other fields are those of GapFill."""

    state: GapState
    by: str
    missing: int = 0
    reason: str = ""
    lost_from_ns: int = 0
    lost_to_ns: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of a gap as they are judged.

    pages: the history is paged, so the next try may bring rows that an answer lacks. limit: why the history does not reach
    further back. skips_ids: it leaves out rows that use up an id.
    """

    from_ns: int
    to_ns: int
    pages: bool = True
    limit: str = ""
    skips_ids: bool = False


@dataclass(slots=True)
class GapEvidence:
    """The stored rows around a gap, and the parts of the history that were read.

    spans: every row of the history in [low, high] was in an answer. stored_after_ns: the time of a stored trade after the
    history's newest row that should be in the history, 0 without one. lacking: the number of stored trades that an answer lacks
    although it has their neighbours. short: an answer without pages was not full. ended: the history was read to its newest row
    so late that no row of the gap can follow. skipped_before: the ids that an earlier answer left out between its rows.
    """

    spans: list[Span] = field(default_factory=list)
    stored_after_ns: int = 0
    lacking: int = 0
    short: bool = False
    ended: bool = False
    skipped_before: list[Range] = field(default_factory=list)
    _ids: list[Int64] = field(default_factory=list)
    _times: list[Int64] = field(default_factory=list)
    _history: list[Int64] = field(default_factory=list)

    def add(self, ids: Int64, times: Int64, *, of_history: bool = False) -> None:
        """Add rows that are stored, or use up an id."""
        self._ids.append(ids)
        self._times.append(times)
        if of_history:
            self._history.append(ids)

    def add_span(self, low_ns: int, high_ns: int) -> None:
        """Add a part of the history that was read completely."""
        if low_ns <= high_ns:
            self.spans = joined([*self.spans, (low_ns, high_ns)])

    def known(self) -> tuple[Int64, Int64]:
        """Return the known ids, ascending and distinct, and their times."""
        if not self._ids:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        ids, first = np.unique(np.concatenate(self._ids), return_index=True)
        return ids, np.concatenate(self._times)[first]

    def history_ids(self) -> Int64:
        """Return the ids of the history's rows, ascending."""
        return np.unique(np.concatenate(self._history)) if self._history else np.empty(0, np.int64)

    def skipped(self) -> list[Range]:
        """Return the ids that the history leaves out between its rows, in order."""
        ids = self.history_ids()
        return id_holes(ids, int(ids[0]), int(ids[-1])) if len(ids) else []

    def agreed(self, holes: Iterable[Range]) -> list[Range]:
        """Return the ranges of ids that both this answer and an earlier one leave out between their rows."""
        now = self.skipped()
        return [hole for hole in holes if _has(now, hole) and _has(self.skipped_before, hole)]


def _has(ranges: list[Range], hole: Range) -> bool:
    place = bisect_right(ranges, hole[0], key=lambda found: found[0]) - 1
    return place >= 0 and hole[1] <= ranges[place][1]


def joined(spans: Iterable[Span]) -> list[Span]:
    """Return spans in order, with overlapping ones joined.

    Spans that only touch stay apart, because an answer may lack some trades of its oldest and its newest time.
    """
    found: list[Span] = []
    for low, high in sorted(spans):
        if found and (low < found[-1][1] or low == found[-1][0]):
            found[-1] = found[-1][0], max(high, found[-1][1])
        else:
            found.append((low, high))
    return found


def judge_ids(bounds: Bounds, evidence: GapEvidence, first_id: int, last_id: int) -> GapVerdict:
    """Judge by contiguous ids: every id of [first_id, last_id] must be known.

    If the history skips ids, the ids that two answers leave out alike do not count as trades.
    """
    ids, times = evidence.known()
    history = evidence.history_ids()
    holes = id_holes(ids, first_id, last_id)
    left_out = 0
    if bounds.skips_ids and len(history):
        inside = evidence.agreed(holes)
        left_out = sum(last - first + 1 for first, last in inside)
        holes = [hole for hole in holes if hole not in inside]
    if not holes:
        reason = f"{left_out:,} ids are not trades of the venue's history" if left_out else ""
        return GapVerdict(GapState.FILLED, BY_ID, reason=reason)
    out_of_reach = not bounds.pages and len(history) > 0 and holes[-1][1] < history[0]
    before, after = times[ids < holes[0][0]], times[ids > holes[-1][1]]
    return GapVerdict(
        GapState.LOST if out_of_reach else GapState.OPEN, BY_ID, sum(last - first + 1 for first, last in holes),
        bounds.limit or "the venue's history lacks them", max(int(before.max(initial=bounds.from_ns)), bounds.from_ns),
        min(int(after.min(initial=bounds.to_ns)), bounds.to_ns))


def judge_time(bounds: Bounds, evidence: GapEvidence) -> GapVerdict:
    """Judge by overlap: the history was read from before the gap to the gap's end, and all of its rows are stored.

    A history that ends earlier only counts if it was requested late enough (`ended`) and no later trade is stored.
    """
    later = [span for span in evidence.spans if span[1] >= bounds.from_ns]
    low_ns, high_ns = later[0] if later else (0, 0)
    if evidence.lacking:
        return GapVerdict(GapState.OPEN, BY_NOTHING, UNKNOWN, f"the venue's history lacks {evidence.lacking:,} trades that are "
                       "stored, so it proves nothing", bounds.from_ns, bounds.to_ns)
    if not evidence.spans:
        return GapVerdict(GapState.OPEN, BY_NOTHING, UNKNOWN, "the venue's history has no rows", bounds.from_ns, bounds.to_ns)
    if not high_ns:  # the history ends before the gap begins
        low_ns, high_ns = evidence.spans[-1]
    if low_ns >= bounds.from_ns:
        if bounds.pages or evidence.short:  # a complete answer would have had the last trade before the gap
            state, reason = GapState.OPEN, "the venue's history does not reach its beginning"
        else:
            state, reason = GapState.LOST, bounds.limit or "the venue's history does not reach its beginning"
        return GapVerdict(state, BY_NOTHING, UNKNOWN, reason, bounds.from_ns, _lost_until_ns(bounds, evidence, later))
    if high_ns < bounds.to_ns and len(later) > 1:
        return GapVerdict(GapState.OPEN if bounds.pages else GapState.LOST, BY_NOTHING, UNKNOWN,
                       bounds.limit or "the venue's history was not read completely", max(high_ns, bounds.from_ns),
                       _lost_until_ns(bounds, evidence, later))
    if high_ns < bounds.to_ns and (evidence.stored_after_ns or not evidence.ended):
        return GapVerdict(GapState.OPEN, BY_NOTHING, UNKNOWN, "the venue's history ends before the gap does",
                       max(high_ns, bounds.from_ns), bounds.to_ns)
    return GapVerdict(GapState.FILLED, BY_OVERLAP)


def _lost_until_ns(bounds: Bounds, evidence: GapEvidence, later: list[Span]) -> int:
    """Return the end of the last unread part of a gap. later: the spans that end in the gap or after it."""
    low_ns, high_ns = later[-1]
    if high_ns < bounds.to_ns and (evidence.stored_after_ns or not evidence.ended):
        return bounds.to_ns
    return min(low_ns + 1, bounds.to_ns)
