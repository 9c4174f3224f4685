"""Find the missing files of a journal from another process, whether its collector runs or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pumpwatch.clock import NS_PER_S
from pumpwatch.store.bounds import of_segment
from pumpwatch.store.damage import holes
from pumpwatch.store.manifest import SegmentManifest
from pumpwatch.store.reader import FOLDER, SUFFIX
from pumpwatch.store.segment import Segment


@dataclass(frozen=True, slots=True)
class Missing:
    """A file that is gone, or batch ids that no file holds. why: a message for a person."""

    name: str
    trades: int
    why: str


def missing_files(folder: Path, segments: Sequence[Segment]) -> list[Missing]:
    """Return the missing files of a data folder by its list of segments, and holes in the batch ids of `segments`.

    Files that a start recorded as a gap are included until they would have expired.
    """
    existing = {path.name for path in (folder / FOLDER).glob(f"*{SUFFIX}")}
    manifest = SegmentManifest.read(folder)
    existing |= {path.name for path in (folder / FOLDER).glob(f"*{SUFFIX}")}  # a segment may have been made or removed meanwhile
    found = [Missing(gone.name, gone.trades, f"the file is gone, with batches {gone.first_id} to {gone.last_id}, "
                     f"{gone.trades:,} trades, {_span(*of_segment(gone))}; the next start records a gap")
             for gone in manifest.missing(existing) if gone.trades or not gone.closed]
    found += [Missing(gone.name, gone.trades, f"the file is gone, with batches {gone.first_id} to {gone.last_id}, "
                      f"{gone.trades:,} trades, {_span(gone.from_ns, gone.to_ns)}, recorded as a gap")
              for gone in manifest.vanished]
    known = [*manifest.explained, *((segment.first_id, segment.last_id) for segment in manifest.segments.values())]
    found += [Missing(after.path.name, 0, f"batches {first} to {last} before it are in no file, "
                                          f"{_span(before.last_timestamp, after.created_ns)}")
              for before, after, first, last in holes(segments, known)]
    return found


def _span(from_ns: int, to_ns: int) -> str:
    return " to ".join(f"{datetime.fromtimestamp(ns // NS_PER_S, UTC):%Y-%m-%dT%H:%M:%SZ}" for ns in (from_ns, to_ns)
                       if 0 <= ns < 253_402_300_800 * NS_PER_S)
