"""What damage made unreadable: named once, counted, and recorded as a gap, never passed over in silence.

Damage is noted where it is met (`batch`, `whole`), and `settle` makes gaps of it: neighbouring batches are one gap a venue.
What was recorded is remembered with its segment, in the list of segments, so that a start or another query records it no
second time. The list is written once the ledger has the gaps.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Gap, GapState
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store.bounds import DISORDER_NS, Times, of_batches, of_segment
from pumpwatch.store.manifest import Ids, Known, SegmentManifest, Vanished, joined, outside
from pumpwatch.store.segment import Segment

log = logging.getLogger(__name__)

MOST_GAPS = 50  # of a file and venue at a time; where more would be needed one covers all of it
NOTES_KEPT = 1000
HOLE_SLACK_NS = 60 * NS_PER_S  # a trade that is missing may be that much older than those before it
Venue = tuple[str, str]


@dataclass(slots=True)
class FileDamage:
    """What was met in one file and is not recorded yet."""

    batches: dict[int, str] = field(default_factory=dict)  # id -> why
    whole: str = ""
    index: bool = False


class Damage:
    """The damage found in one data folder. One thread.

    `note` takes records for the ledger, and never blocks; `waits` says whether it holds any that are not written.
    """

    def __init__(self, stats: Stats, note: Callable[[Records], None], waits: Callable[[], bool]) -> None:
        self.notes: list[str] = []
        self._stats, self._note, self._waits = stats, note, waits
        self._found: dict[Path, FileDamage] = {}

    def file(self, path: Path, why: object) -> None:
        """Name a file, or a part of one, that cannot be read."""
        note = f"{path.name}: {why}"
        if note not in self.notes and len(self.notes) < NOTES_KEPT:
            self.notes.append(note)
            self._stats.add("journal_damage_total")
            log.error("journal unreadable %s", note)

    def batch(self, path: Path, batch_id: int, why: str) -> None:
        """Note a batch that cannot be read."""
        self._of(path).batches.setdefault(batch_id, why)

    def whole(self, path: Path, why: object) -> None:
        """Note a file that cannot be read at all."""
        self._of(path).whole = str(why)

    def index(self, path: Path) -> None:
        """Note that a file's index of times is wrong: its trades are found without it from now on."""
        self._of(path).index = True

    def _of(self, path: Path) -> FileDamage:
        return self._found.setdefault(path, FileDamage())

    def remember(self, segment: Segment) -> None:
        """Name what an earlier run found in a segment and recorded."""
        if not segment.readable:
            self.notes.append(f"{segment.path.name}: the file cannot be read")
        self.notes += [f"{segment.path.name}: {_named(first, last)} cannot be read" for first, last in segment.damaged]
        if segment.index_damaged:
            self.notes.append(f"{segment.path.name}: its index of times is damaged, it is read without")

    @property
    def waits(self) -> bool:
        """Whether the ledger has not taken every gap yet."""
        return self._waits()

    def record_found(self, segments: Sequence[Segment]) -> bool:
        """Record what was noted; return whether anything is new, so that the list of segments is to be written."""
        found, self._found = self._found, {}
        by_path = {one.path: one for one in segments}
        everywhere = set(chain.from_iterable(one.venues for one in segments))
        changed = False
        for path, one in found.items():
            segment = by_path.get(path)
            if segment is not None:  # else it expired meanwhile
                changed |= self._settle_file(segment, one, everywhere)
        return changed

    def _settle_file(self, segment: Segment, found: FileDamage, everywhere: set[Venue]) -> bool:
        venues = segment.venues or everywhere
        if found.whole:
            if not segment.readable:
                return False
            segment.readable = False
            self.file(segment.path, found.whole)
            self.gap(segment.path.name, "the file cannot be read", of_segment(segment), venues)
            return True
        changed = found.index and not segment.index_damaged
        if changed:
            segment.index_damaged = True
            self.file(segment.path, "its index of times is damaged, it is read without")
        new = sorted(number for number in found.batches if outside(number, number, segment.damaged))
        runs = joined((number, number) for number in new)
        for first, last in runs:
            self.file(segment.path, f"{_named(first, last)}: {found.batches[first]}")
        for ids in [list(range(first, last + 1)) for first, last in runs] if len(runs) <= MOST_GAPS else [new]:
            self.gap(segment.path.name, f"{_named(ids[0], ids[-1])} cannot be read", of_batches(segment, ids), venues)
        segment.damaged = joined([*segment.damaged, *runs])
        return changed or bool(new)

    def gap(self, name: str, what: str, times: Times, venues: Iterable[Venue]) -> None:
        """Record [from, to) of these venues; lost for good where even the venues are unknown."""
        self.add([Gap(exchange=exchange, market_type=market_type, from_ns=times[0], to_ns=max(times[1], times[0] + 1),
                      reason=f"journal damaged: {name}: {what}",
                      state=GapState.OPEN if exchange else GapState.LOST)
                  for exchange, market_type in sorted(venues) or [("", "")]])

    def add(self, gaps: Iterable[Gap]) -> None:
        """Record gaps, as soon as the ledger takes them."""
        self._note(Records(gaps=list(gaps)))


def record_cut(damage: Damage, segment: Segment, lost: int, everywhere: Collection[tuple[str, str]]) -> None:
    """Record a segment of whose write-ahead log `lost` pages cannot be read."""
    why = f"the write-ahead log is damaged, its last {lost} pages are lost"
    damage.file(segment.path, why)
    from_ns = min(segment.last_received or segment.created_ns, max(segment.last_timestamp, segment.created_ns))
    damage.gap(segment.path.name, why, (from_ns - DISORDER_NS, segment.path.stat().st_mtime_ns), segment.venues or everywhere)


def note_missing(damage: Damage, manifest: SegmentManifest, segments: Sequence[Segment], now_ns: int) -> None:
    """Record a gap for each segment of the list that is gone, and for each hole between the batch ids of those that are there.

    `segments` are in order. A hole that the list explains is none.
    """
    known: list[Segment | Known] = [*segments, *manifest.segments.values()]
    everywhere = set(chain.from_iterable(one.venues for one in known))
    starts = sorted({(one.first_id, one.created_ns) for one in known if one.first_id})
    for one in manifest.missing(segment.path.name for segment in segments):
        if one.closed and not one.trades:
            continue
        from_ns, to_ns = of_segment(one)
        if not one.closed:  # it grew after the list was written, until the next one began
            following = next((start for start in starts if start[0] > one.first_id), None)
            to_ns = max(to_ns, following[1] if following else now_ns)
            one.last_id = max(one.last_id, following[0] - 1 if following else one.first_id)
        if not one.unreadable:  # that was recorded then
            what = f"the file is gone, with batches {one.first_id} to {one.last_id}"
            damage.file(Path(one.name), what)
            damage.gap(one.name, what, (from_ns, to_ns), set(one.venues) or everywhere)
        manifest.explain(one.first_id, one.last_id)
        manifest.vanished.append(Vanished(one.name, one.first_id, one.last_id, from_ns, to_ns, one.trades))
    for before, after, first, last in holes(segments, manifest.explained):
        what = f"batches {first} to {last} before it are in no file"
        damage.file(after.path, what)
        times = (before.last_timestamp, before.last_received, after.first_timestamp, after.created_ns)
        damage.gap(after.path.name, what, (min(times) - HOLE_SLACK_NS, max(times) + 1), before.venues | after.venues)
        manifest.explain(first, last)


def holes(segments: Sequence[Segment], explained: Sequence[Ids]) -> list[tuple[Segment, Segment, int, int]]:
    """Return the ids between neighbouring segments that none of them holds and nothing explains, with the neighbours."""
    readable = [one for one in segments if one.readable]
    known = joined([*explained, *((one.first_id, one.last_id) for one in segments if not one.readable)])
    return [(before, after, first, last) for before, after in pairwise(readable)
            for first, last in outside(before.last_id + 1, after.first_id - 1, known)]


def _named(first: int, last: int) -> str:
    return f"batch {first}" if first == last else f"batches {first} to {last}"
