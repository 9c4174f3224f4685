"""Handle segments that another process had locked when the journal was opened.

The start neither waits for the lock nor treats the file as damaged. It adds a segment with an estimated summary, whose range of
batch ids is wide enough for anything in the file. Readers raise StorageError for it until `read_again` has read the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import DISORDER_NS
from pumpwatch.store.manifest import SegmentManifest
from pumpwatch.store.segment import CLEAN, Segment, companions, read_segment, recover_segment

RESERVED_IDS = 1_000_000  # more ids than a file holds
SLACK_NS = 60 * NS_PER_S  # trades may be this much newer than the file's time of change


def estimate(path: Path, manifest: SegmentManifest, before: Sequence[Segment]) -> Segment:
    """Return an estimated summary of a locked file. before: the readable segments with earlier names.

    The summary is exact if the list of segments has the file as closed. Otherwise its end is unknown.
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
    """Replace a locked segment's estimate with the file's own summary; return the number of lost pages of its log.

    Reserved ids that are in no file become explained. Raises sqlite3.Error if the file is still locked or is damaged,
    StorageError if a newer version wrote it.
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
