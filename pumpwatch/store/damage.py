"""Record damage to the journal: log it once, count it, and record a gap for the data that cannot be read.

Readers add the damage that they meet (`add_batch`, `add_file`), and `record_found` turns it into gaps: neighbouring batches
become one gap per venue. The list of segments keeps the recorded damage of each segment, so that neither a restart nor another
query records it again. The list is written once the gaps are in the ledger, or wait for it on disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import DISORDER_NS, Gap, GapState
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store.bounds import Times, of_batches, of_segment
from pumpwatch.store.manifest import Ids, Known, SegmentManifest, Vanished, joined, outside
from pumpwatch.store.segment import Segment

log = logging.getLogger(__name__)

MOST_GAPS = 50  # per file and venue at a time; beyond that, one gap covers all of them
NOTES_KEPT = 1000
HOLE_SLACK_NS = 60 * NS_PER_S  # a missing trade may be this much older than the trades before it
Venue = tuple[str, str]


@dataclass(slots=True)
class FileDamage:
    """Damage of one file that is not recorded yet."""

    batches: dict[int, str] = field(default_factory=dict)  # id -> reason
    whole: str = ""
    index: bool = False


class Damage:
    """The damage found in one data folder. Use it from one thread.

    `note` queues records for the ledger and never blocks. `kept` stores the queued records on disk until the ledger takes them,
    and returns whether all of them are safe.
    """

    def __init__(self, stats: Stats, note: Callable[[Records], None], kept: Callable[[], bool]) -> None:
        self.notes: list[str] = []
        self._stats, self._note, self._kept = stats, note, kept
        self._found: dict[Path, FileDamage] = {}

    def log_damage(self, path: Path, why: object) -> None:
        """Log a file, or a part of one, that cannot be read, and keep the line in `notes`."""
        note = f"{path.name}: {why}"
        if note not in self.notes and len(self.notes) < NOTES_KEPT:
            self.notes.append(note)
            self._stats.add("journal_damage_total")
            log.error("journal damaged file=%s reason=%s", path.name, why)

    def add_batch(self, path: Path, batch_id: int, why: str) -> None:
        """Add a batch that cannot be read."""
        self._file_damage(path).batches.setdefault(batch_id, why)

    def add_file(self, path: Path, why: object) -> None:
        """Add a file that cannot be read at all."""
        self._file_damage(path).whole = str(why)

    def add_index(self, path: Path) -> None:
        """Add a file whose time index is wrong: queries search the file without the index from now on."""
        self._file_damage(path).index = True

    def _file_damage(self, path: Path) -> FileDamage:
        return self._found.setdefault(path, FileDamage())

    def recall(self, segment: Segment) -> None:
        """Add to `notes` the damage of a segment that an earlier run recorded."""
        if not segment.readable:
            self.notes.append(f"{segment.path.name}: the file cannot be read")
        self.notes += [f"{segment.path.name}: {_named(first, last)} cannot be read" for first, last in segment.damaged]
        if segment.index_damaged:
            self.notes.append(f"{segment.path.name}: its time index is damaged, it is read without the index")

    def kept(self) -> bool:
        """Return whether every gap is safe from a kill."""
        return self._kept()

    def record_found(self, segments: Sequence[Segment]) -> bool:
        """Record the damage added so far as gaps; return whether any is new, so that the list of segments must be written."""
        found, self._found = self._found, {}
        by_path = {segment.path: segment for segment in segments}
        everywhere = set(chain.from_iterable(segment.venues for segment in segments))
        changed = False
        for path, file_damage in found.items():
            segment = by_path.get(path)
            if segment is not None:  # else it expired meanwhile
                changed |= self._record_file(segment, file_damage, everywhere)
        return changed

    def _record_file(self, segment: Segment, found: FileDamage, everywhere: set[Venue]) -> bool:
        venues = segment.venues or everywhere
        if found.whole:
            if not segment.readable:
                return False
            segment.readable = False
            self.log_damage(segment.path, found.whole)
            self.record_gap(segment.path.name, "the file cannot be read", of_segment(segment), venues)
            return True
        changed = found.index and not segment.index_damaged
        if changed:
            segment.index_damaged = True
            self.log_damage(segment.path, "its time index is damaged, it is read without the index")
        new = sorted(number for number in found.batches if outside(number, number, segment.damaged))
        runs = joined((number, number) for number in new)
        for first, last in runs:
            self.log_damage(segment.path, f"{_named(first, last)}: {found.batches[first]}")
        for ids in [list(range(first, last + 1)) for first, last in runs] if len(runs) <= MOST_GAPS else [new]:
            self.record_gap(segment.path.name, f"{_named(ids[0], ids[-1])} cannot be read", of_batches(segment, ids), venues)
        segment.damaged = joined([*segment.damaged, *runs])
        return changed or bool(new)

    def record_gap(self, name: str, what: str, times: Times, venues: Iterable[Venue]) -> None:
        """Record a gap at these times for each venue. Where the venues are unknown, record one gap as lost."""
        self.record_gaps([Gap(exchange=exchange, market_type=market_type, from_ns=times[0], to_ns=max(times[1], times[0] + 1),
                      reason=f"journal damaged: {name}: {what}",
                      state=GapState.OPEN if exchange else GapState.LOST)
                  for exchange, market_type in sorted(venues) or [("", "")]])

    def record_gaps(self, gaps: Iterable[Gap]) -> None:
        """Queue gaps for the ledger."""
        self._note(Records(gaps=list(gaps)))


def record_cut(damage: Damage, segment: Segment, lost: int, everywhere: Collection[tuple[str, str]]) -> None:
    """Record a segment whose write-ahead log has `lost` unreadable pages."""
    why = f"the write-ahead log is damaged, its last {lost} pages are lost"
    damage.log_damage(segment.path, why)
    from_ns = min(segment.last_received or segment.created_ns, max(segment.last_timestamp, segment.created_ns))
    damage.record_gap(segment.path.name, why, (from_ns - DISORDER_NS, segment.path.stat().st_mtime_ns),
                      segment.venues or everywhere)


def record_missing(damage: Damage, manifest: SegmentManifest, segments: Sequence[Segment], now_ns: int) -> None:
    """Record a gap for each listed segment whose file is gone, and for each unexplained hole in the batch ids.

    `segments` are the existing files, in order.
    """
    known: list[Segment | Known] = [*segments, *manifest.segments.values()]
    everywhere = set(chain.from_iterable(segment.venues for segment in known))
    starts = sorted({(segment.first_id, segment.created_ns) for segment in known if segment.first_id})
    for gone in manifest.missing(segment.path.name for segment in segments):
        if gone.closed and not gone.trades:
            continue
        from_ns, to_ns = of_segment(gone)
        if not gone.closed:  # it grew after the list was written, until the next segment began
            following = next((start for start in starts if start[0] > gone.first_id), None)
            to_ns = max(to_ns, following[1] if following else now_ns)
            gone.last_id = max(gone.last_id, following[0] - 1 if following else gone.first_id)
        if not gone.unreadable:  # an unreadable file was recorded when it was found
            what = f"the file is gone, with batches {gone.first_id} to {gone.last_id}"
            damage.log_damage(Path(gone.name), what)
            damage.record_gap(gone.name, what, (from_ns, to_ns), set(gone.venues) or everywhere)
        manifest.explain(gone.first_id, gone.last_id)
        manifest.vanished.append(Vanished(gone.name, gone.first_id, gone.last_id, from_ns, to_ns, gone.trades))
    for before, after, first, last in holes(segments, manifest.explained):
        what = f"batches {first} to {last} before it are in no file"
        damage.log_damage(after.path, what)
        times = (before.last_timestamp, before.last_received, after.first_timestamp, after.created_ns)
        damage.record_gap(after.path.name, what, (min(times) - HOLE_SLACK_NS, max(times) + 1), before.venues | after.venues)
        manifest.explain(first, last)


def holes(segments: Sequence[Segment], explained: Sequence[Ids]) -> list[tuple[Segment, Segment, int, int]]:
    """Return unexplained ids between neighbouring segments as (segment before, segment after, first id, last id)."""
    readable = [segment for segment in segments if segment.readable]
    known = joined([*explained, *((segment.first_id, segment.last_id) for segment in segments if not segment.readable)])
    return [(before, after, first, last) for before, after in pairwise(readable)
            for first, last in outside(before.last_id + 1, after.first_id - 1, known)]


def _named(first: int, last: int) -> str:
    return f"batch {first}" if first == last else f"batches {first} to {last}"
