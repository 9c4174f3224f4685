"""Which files a journal should have and has not, told from outside, beside a running collector or after it."""

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
    """A file that is gone, or ids that no file holds. `why` is for a person."""

    name: str
    trades: int
    why: str


def missing_files(folder: Path, segments: Sequence[Segment]) -> list[Missing]:
    """Return what the list of segments and the batch ids say is missing in a data folder; `segments` are the readable ones.

    What a start recorded as a gap is among it until it would have expired.
    """
    there = {path.name for path in (folder / FOLDER).glob(f"*{SUFFIX}")}
    manifest = SegmentManifest.read(folder)
    there |= {path.name for path in (folder / FOLDER).glob(f"*{SUFFIX}")}  # one may have been made, as well as expired
    found = [Missing(one.name, one.trades, f"the file is gone, with batches {one.first_id} to {one.last_id}, {one.trades:,} "
                                           f"trades, {_span(*of_segment(one))}; the next start records a gap")
             for one in manifest.missing(there) if one.trades or not one.closed]
    found += [Missing(one.name, one.trades, f"the file is gone, with batches {one.first_id} to {one.last_id}, {one.trades:,} "
                                            f"trades, {_span(one.from_ns, one.to_ns)}, recorded as a gap")
              for one in manifest.vanished]
    known = [*manifest.explained, *((one.first_id, one.last_id) for one in manifest.segments.values())]
    found += [Missing(after.path.name, 0, f"batches {first} to {last} before it are in no file, "
                                          f"{_span(before.last_timestamp, after.created_ns)}")
              for before, after, first, last in holes(segments, known)]
    return found


def _span(from_ns: int, to_ns: int) -> str:
    return " to ".join(f"{datetime.fromtimestamp(one // NS_PER_S, UTC):%Y-%m-%dT%H:%M:%SZ}" for one in (from_ns, to_ns)
                       if 0 <= one < 253_402_300_800 * NS_PER_S)
