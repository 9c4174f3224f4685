"""Segments that another process had locked when the journal was opened.

The start does not wait for the lock and does not call the file damaged. It takes in a segment with an estimated summary, whose
range of batch ids holds whatever the file may hold. Readers raise StorageError at it until `read_again` has read the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import DISORDER_NS
from pumpwatch.store.manifest import SegmentManifest
from pumpwatch.store.segment import CLEAN, Segment, companions, read_segment, recover_segment

RESERVED_IDS = 1_000_000  # more than a file holds
SLACK_NS = 60 * NS_PER_S  # of the file's time of change, as a bound of its trades' times


def estimate(path: Path, manifest: SegmentManifest, before: Sequence[Segment]) -> Segment:
    """Return a segment with all that a locked file may hold; `before` are the readable segments with earlier names.

    A file that the list of segments has as closed is known exactly. Of any other one the end is unknown.
    """
    known = manifest.segments.get(path.name)
    if known is not None and known.closed:
        return Segment(path, known.first_id, known.last_id, trades=known.trades, created_ns=known.created_ns, locked=True,
                       first_timestamp=known.first_timestamp, last_timestamp=known.last_timestamp,
                       last_received=known.last_received, state=CLEAN)
    changed_ns = max(file.stat().st_mtime_ns for file in companions(path) if file.exists())
    previous = before[-1] if before else None
    first_id = known.first_id if known else previous.last_id + 1 if previous else 1
    created_ns = known.created_ns if known else min(previous.last_received if previous else 0, changed_ns)
    return Segment(path, first_id, first_id + RESERVED_IDS - 1, created_ns=created_ns, locked=True,
                   first_timestamp=min(created_ns - DISORDER_NS, known.first_timestamp if known else created_ns),
                   last_timestamp=changed_ns + SLACK_NS, last_received=known.last_received if known else 0,
                   trades=known.trades if known else 0)


def read_again(segment: Segment, manifest: SegmentManifest) -> int:
    """Replace a locked segment's estimate by the file's own summary; return how many pages of its log are lost.

    Ids that were reserved for it and are in no file are noted as explained. Raises sqlite3.Error where the file is still
    locked, or is damaged; StorageError where a newer version wrote it.
    """
    found, lost = read_segment(segment.path), 0
    if not found.state:
        found, lost = recover_segment(segment.path)
    reserved_id = segment.last_id
    for name in ("first_id", "run", "trades", "first_timestamp", "last_timestamp", "last_received", "created_ns", "state",
                 "ordinal"):
        setattr(segment, name, getattr(found, name))
    segment.last_id = min(found.last_id, reserved_id)  # higher ids are the next segment's
    manifest.explain(segment.last_id + 1, reserved_id)
    segment.locked, segment.counts = False, None
    manifest.recall(segment)
    return lost
