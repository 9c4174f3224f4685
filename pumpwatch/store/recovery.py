"""What a start finds in a data folder: the lock, the segments of earlier runs, and where every stream had come to."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from pathlib import Path

from pumpwatch.errors import StorageError
from pumpwatch.store.damage import Damage
from pumpwatch.store.lastids import LastId, Name, unpack
from pumpwatch.store.reader import FOLDER, SUFFIX, in_order
from pumpwatch.store.segment import CLEAN, NEW, Segment, read_segment, recover_segment
from pumpwatch.store.sqlite import DAMAGED, check_of, connect, no_room, storage_error

LOCK_NAME = "lock"
_DAMAGED_OR_REFUSED: tuple[type[Exception], ...] = (*DAMAGED, OSError)
_SKIPPED_IDS = 1_000_000  # more than a file holds


@dataclass(frozen=True, slots=True)
class Recovery:
    """What the last run left."""

    last_batch_id: int
    last_received_at_ns: int  # 0: nothing is stored
    last_ids: dict[Name, LastId]
    unreadable: list[str]
    clean: bool  # the last run closed the journal


@dataclass(slots=True)
class Found:
    """The files of a folder, read."""

    segments: list[Segment] = field(default_factory=list)  # oldest first, unreadable ones before all
    acknowledged: dict[str, int] = field(default_factory=dict)
    last_id: int = 0  # no stored batch has a higher one
    clean: bool = True


def lock_folder(folder: Path) -> int:
    """Lock a data folder for this process; return the handle that holds it. The lock dies with the process."""
    handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(handle)
        raise StorageError(f"{folder}: another process (pid {holder}) collects into this folder",
                           "stop that one, or give this one its own store.dir") from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def load_segments(folder: Path, damage: Damage) -> Found:
    """Read every segment's summary and mend those that a crash left.

    Raises StorageError for a newer schema, and where there is no room to read what a crash left.
    """
    for unfinished in (folder / FOLDER).glob(f"*{SUFFIX}{NEW}*"):
        unfinished.unlink()
    found = Found()
    broken: list[Segment] = []
    readable: list[Segment] = []
    for path in sorted((folder / FOLDER).glob(f"*{SUFFIX}")):
        try:
            readable.append(_read(path, damage))
        except _DAMAGED_OR_REFUSED as error:
            if no_room(error):
                raise storage_error(path, "recovery", error) from error
            damage.file(path, error)
            broken.append(Segment(path, 0, -1, created_ns=path.stat().st_mtime_ns, readable=False))
    for one in broken:
        received = [other.last_received for other in readable if other.path.name < one.path.name]
        damage.gap(one.path, "the file cannot be read", max(received, default=0), one.created_ns)
    in_order(readable)
    found.segments = broken + readable
    found.clean = not broken and (not readable or readable[-1].state == CLEAN)
    found.last_id = max((one.last_id for one in readable), default=0)
    for one in readable:  # the newest file counts: a mark may have gone back
        for sink, number in _watermarks(one.path, damage):
            found.acknowledged[sink] = number
            found.last_id = max(found.last_id, number)
    if broken:
        found.last_id += _SKIPPED_IDS  # the unreadable file may hold the next ones
    return found


def _read(path: Path, damage: Damage) -> Segment:
    segment = read_segment(path)
    if segment.state:
        return segment
    segment, lost = recover_segment(path)
    if lost:
        damage.file(path, f"the write-ahead log is damaged, its last {lost} pages are lost")
        damage.gap(path, "the write-ahead log is damaged", segment.last_received or segment.created_ns,
                   path.stat().st_mtime_ns)
    return segment


def _watermarks(path: Path, damage: Damage) -> list[tuple[str, int]]:
    try:
        connection = connect(path, read_only=True)
        try:
            rows = connection.execute("SELECT sink, batch_id, checksum FROM acknowledged").fetchall()
        finally:
            connection.close()
    except DAMAGED as error:
        damage.file(path, f"watermarks: {error}")
        return []
    whole = [(sink, number) for sink, number, check in rows if check == check_of(sink, number)]
    if len(whole) < len(rows):  # an earlier one counts, and the sink gets some trades twice
        damage.file(path, "watermarks: a checksum does not match")
    return whole


def stored_last_ids(segments: list[Segment], damage: Damage) -> tuple[int, dict[Name, LastId]]:
    """Return the newest stored last ids, and the batch up to which they are right."""
    for segment in reversed(segments):
        if not segment.readable:
            continue
        try:
            connection = connect(segment.path, read_only=True)
            try:
                row = connection.execute("SELECT batch_id, ids, checksum FROM last_ids").fetchone()
            finally:
                connection.close()
            if row is not None and row[2] != check_of(row[0], row[1]):
                raise ValueError("a checksum does not match")
            if row is not None and row[0] <= segment.last_id:
                return row[0], unpack(row[1])
        except DAMAGED as error:
            damage.file(segment.path, f"last ids: {error}")
    return 0, {}
