"""The journal's list of its own files: which there are, what each holds, and what was found damaged.

It is written when a segment is made, closed or removed, and when damage is found, so that a file that vanishes, and a hole in
the batch ids, can be told from what expired. It is a help and no condition: lost or damaged, it is made anew from the segments.
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
Ids = tuple[int, int]  # first and last batch id, both inside


class Known(msgspec.Struct):
    """A segment as it was when the list was written. An open one has grown since."""

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
    unreadable: bool = False  # as a whole, and recorded as such
    index_damaged: bool = False


class Vanished(msgspec.Struct):
    """A segment that was there and is not, with the gap that was recorded for it."""

    name: str
    first_id: int
    last_id: int
    from_ns: int
    to_ns: int
    trades: int


class _Content(msgspec.Struct):
    segments: list[Known] = []
    explained: list[Ids] = []  # batch ids that no file holds, for a reason that is known
    vanished: list[Vanished] = []
    removed_early_from_ns: int = 0  # where the gap begins that grows with each segment removed before its time


class _File(msgspec.Struct):
    checksum: int
    content: msgspec.Raw


class SegmentManifest:
    """The list of one data folder's journal."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.segments: dict[str, Known] = {}  # as they were when it was read
        self.explained: list[Ids] = []
        self.vanished: list[Vanished] = []
        self.removed_early_from_ns = 0
        self.problem = ""  # why it could not be read
        self.dirty = False

    @staticmethod
    def read(folder: Path) -> SegmentManifest:
        """Read the list in a journal's folder; an empty one where there is none, or with `problem` where it is damaged."""
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
        manifest.segments = {one.name: one for one in content.segments}
        manifest.explained, manifest.vanished = content.explained, content.vanished
        manifest.removed_early_from_ns = content.removed_early_from_ns
        return manifest

    def write(self, segments: Sequence[Segment]) -> bool:
        """Replace the file; return False, and remember to try again, where the disk refuses."""
        lowest = min((one.first_id for one in segments if one.readable), default=0)
        self.explained = joined(one for one in self.explained if one[1] >= lowest)
        content = msgspec.json.encode(_Content([_known(one) for one in segments], self.explained, self.vanished,
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
        """Note that no file holds these batch ids, and that it is known why."""
        if first_id <= last_id:
            self.explained = joined([*self.explained, (first_id, last_id)])

    def forget(self, before_ns: int) -> None:
        """Forget segments that vanished and would have expired by now."""
        self.vanished = [one for one in self.vanished if one.to_ns >= before_ns]

    def recall(self, segment: Segment) -> None:
        """Give a segment what the list knows of it: its venues, and what was found damaged and recorded."""
        known = self.segments.get(segment.path.name)
        if known is not None and known.first_id == segment.first_id:
            segment.venues, segment.damaged, segment.index_damaged = set(known.venues), known.damaged, known.index_damaged

    def missing(self, names: Iterable[str]) -> list[Known]:
        """Return the segments of the list that are not among these names, oldest first."""
        there = set(names)
        return sorted((one for one in self.segments.values() if one.name not in there), key=lambda one: one.first_id)


def joined(ranges: Iterable[Ids]) -> list[Ids]:
    """Return ranges of ids in order, with those that touch made one."""
    result: list[Ids] = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(result[-1][1], last))
        else:
            result.append((first, last))
    return result


def outside(first: int, last: int, ranges: Sequence[Ids]) -> list[Ids]:
    """Return the parts of [first, last] that no range holds; the ranges are in order."""
    parts: list[Ids] = []
    for low, high in ranges:
        if high < first or low > last:
            continue
        if low > first:
            parts.append((first, low - 1))
        first = high + 1
    return [*parts, (first, last)] if first <= last else parts


def _known(one: Segment) -> Known:
    return Known(one.path.name, one.first_id, one.last_id, one.created_ns, one.first_timestamp, one.last_timestamp,
                 one.last_received, one.trades, bool(one.state), sorted(one.venues), list(one.damaged), not one.readable,
                 one.index_damaged)
