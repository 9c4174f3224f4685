"""The journal's list of its own files, with the content and the known damage of each.

It is written when a segment is created, closed or removed, and when damage is found. It distinguishes vanished files and holes
in the batch ids from expired files. A lost or damaged list is rebuilt from the segments.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from pumpwatch.store.segment import Segment, sync_folder
from pumpwatch.store.sqlite import FILE_MODE

log = logging.getLogger(__name__)

FILE = "segments.json"
Ids = tuple[int, int]  # first and last batch id, inclusive


class Known(msgspec.Struct):
    """A segment at the time when the list was written. An open segment may have grown since."""

    name: str
    first_id: int
    last_id: int
    created_ns: int
    first_timestamp: int
    last_timestamp: int
    last_received: int
    trades: int
    closed: bool
    venues: list[tuple[str, str]] = []
    damaged: list[Ids] = []
    unreadable: bool = False  # as a whole, which is recorded as a gap
    index_damaged: bool = False


class Vanished(msgspec.Struct):
    """A segment whose file is gone, with the gap that was recorded for it."""

    name: str
    first_id: int
    last_id: int
    from_ns: int
    to_ns: int
    trades: int


class _Content(msgspec.Struct):
    segments: list[Known] = []
    explained: list[Ids] = []  # batch ids that no file holds, for a known reason
    vanished: list[Vanished] = []
    removed_early_from_ns: int = 0  # the beginning of the gap that grows with each segment that expires early


class _File(msgspec.Struct):
    checksum: int
    content: msgspec.Raw


class SegmentManifest:
    """The list of segments of one data folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.segments: dict[str, Known] = {}  # as the file had them when it was read
        self.explained: list[Ids] = []
        self.vanished: list[Vanished] = []
        self.removed_early_from_ns = 0
        self.problem = ""  # why the file could not be read
        self.dirty = False

    @staticmethod
    def read(folder: Path) -> SegmentManifest:
        """Read a data folder's list. Without a file the list is empty; a damaged file sets `problem`."""
        manifest = SegmentManifest(folder)
        try:
            file = msgspec.json.decode(manifest.path.read_bytes(), type=_File)
            if zlib.crc32(bytes(file.content)) != file.checksum:
                raise ValueError("its checksum does not match")
            content = msgspec.json.decode(file.content, type=_Content)
        except FileNotFoundError:
            return manifest
        except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
            manifest.problem = f"the list of segments cannot be read: {error}"
            return manifest
        manifest.segments = {known.name: known for known in content.segments}
        manifest.explained, manifest.vanished = content.explained, content.vanished
        manifest.removed_early_from_ns = content.removed_early_from_ns
        return manifest

    def write(self, segments: Sequence[Segment]) -> bool:
        """Replace the file; return False if that fails, and stay `dirty` for another try."""
        lowest = min((segment.first_id for segment in segments if segment.readable), default=0)
        self.explained = joined(ids for ids in self.explained if ids[1] >= lowest)
        content = msgspec.json.encode(_Content([_known(segment) for segment in segments], self.explained, self.vanished,
                                               self.removed_early_from_ns))
        fresh = self.path.with_name(FILE + ".new")
        try:
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), FILE_MODE)
                file.write(msgspec.json.encode(_File(zlib.crc32(content), msgspec.Raw(content))))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            if not self.dirty:
                log.warning("list of segments not written file=%s reason=%s", self.path.name, error)
            self.dirty = True
            return False
        self.dirty = False
        return True

    def explain(self, first_id: int, last_id: int) -> None:
        """Record that no file holds these batch ids, for a known reason."""
        if first_id <= last_id:
            self.explained = joined([*self.explained, (first_id, last_id)])

    def forget(self, before_ns: int) -> None:
        """Forget vanished segments that would have expired by now."""
        self.vanished = [gone for gone in self.vanished if gone.to_ns >= before_ns]

    def recall(self, segment: Segment) -> None:
        """Set a segment's venues and recorded damage from the list, if the list has the segment."""
        known = self.segments.get(segment.path.name)
        if known is not None and known.first_id == segment.first_id:
            segment.venues, segment.damaged, segment.index_damaged = set(known.venues), known.damaged, known.index_damaged

    def missing(self, names: Iterable[str]) -> list[Known]:
        """Return the listed segments whose names are not among `names`, oldest first."""
        existing = set(names)
        return sorted((known for known in self.segments.values() if known.name not in existing),
                      key=lambda known: known.first_id)


def joined(ranges: Iterable[Ids]) -> list[Ids]:
    """Return ranges of ids in order, with touching ranges joined."""
    result: list[Ids] = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(result[-1][1], last))
        else:
            result.append((first, last))
    return result


def outside(first: int, last: int, ranges: Sequence[Ids]) -> list[Ids]:
    """Return the parts of [first, last] outside all of the ordered ranges."""
    parts: list[Ids] = []
    for low, high in ranges:
        if high < first or low > last:
            continue
        if low > first:
            parts.append((first, low - 1))
        first = high + 1
    return [*parts, (first, last)] if first <= last else parts


def _known(segment: Segment) -> Known:
    return Known(segment.path.name, segment.first_id, segment.last_id, segment.created_ns, segment.first_timestamp,
                 segment.last_timestamp, segment.last_received, segment.trades, bool(segment.state), sorted(segment.venues),
                 list(segment.damaged), not segment.readable, segment.index_damaged)
