"""What a start finds in a data folder: the lock, the segments of earlier runs, and where every stream had come to."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.model import DISORDER_NS
from pumpwatch.store.bounds import of_segment
from pumpwatch.store.codec import grouped
from pumpwatch.store.damage import Damage, note_missing
from pumpwatch.store.inventory import Inventory
from pumpwatch.store.last_ids import LastId, LastIds, Name, unpack
from pumpwatch.store.manifest import SegmentManifest
from pumpwatch.store.names import venues_in
from pumpwatch.store.reader import FOLDER, SUFFIX, in_order
from pumpwatch.store.segment import CLEAN, NEW, Segment, companions, read_segment, recover_segment
from pumpwatch.store.sqlite import DAMAGED, FILE_MODE, check_of, connect, make_private, no_room, storage_error

LOCK_NAME = "lock"
_DAMAGED_OR_REFUSED: tuple[type[Exception], ...] = (*DAMAGED, OSError)
_SKIPPED_IDS = 1_000_000  # more than a file holds
_CLOCKS_AGREE_NS = 3600 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Recovery:
    """What the last run left."""

    last_batch_id: int
    last_received_at_ns: int  # 0: nothing is stored
    last_ids: dict[Name, LastId]
    unreadable: list[str]
    clean: bool  # the last run closed the journal


@dataclass(slots=True)
class RecoveredSegments:
    """The files of a folder, read."""

    manifest: SegmentManifest
    segments: list[Segment] = field(default_factory=list)  # oldest first, unreadable ones before all
    acknowledged: dict[str, int] = field(default_factory=dict)
    last_id: int = 0  # no stored batch has a higher one
    clean: bool = True


def lock_folder(folder: Path) -> int:
    """Lock a data folder for this process; return the handle that holds it. The lock dies with the process."""
    make_private(folder / LOCK_NAME)
    handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
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


def load_segments(folder: Path, damage: Damage, now_ns: int) -> RecoveredSegments:
    """Read every segment's summary and mend those that a crash left; record what is damaged or missing.

    Raises StorageError for a newer schema, and where there is no room to read what a crash left.
    """
    for unfinished in (folder / FOLDER).glob(f"*{SUFFIX}{NEW}*"):
        unfinished.unlink()
    found = RecoveredSegments(SegmentManifest.read(folder))
    if found.manifest.problem:
        damage.file(found.manifest.path, found.manifest.problem)
    broken: list[tuple[Segment, str]] = []
    readable: list[Segment] = []
    cut: list[tuple[Segment, str]] = []
    for path in sorted((folder / FOLDER).glob(f"*{SUFFIX}")):
        _hide(path)
        try:
            segment, lost = _read(path)
        except _DAMAGED_OR_REFUSED as error:
            if no_room(error):
                raise storage_error(path, "recovery", error) from error
            broken.append((_broken(path, found.manifest, readable), str(error)))
            continue
        readable.append(segment)
        if lost:
            cut.append((segment, f"the write-ahead log is damaged, its last {lost} pages are lost"))
    found.segments = [*(one for one, _ in broken), *in_order(readable)]
    for one in found.segments:
        found.manifest.recall(one)
        one.venues = one.venues or venues_in(one.path)
        damage.remember(one)
    _record(damage, found, broken, cut)
    found.clean = not broken and (not readable or readable[-1].state == CLEAN)
    found.last_id = max((one.last_id for one in readable), default=0)
    for one in readable:  # the newest file counts: a mark may have gone back
        for sink, number in _watermarks(one.path, damage):
            found.acknowledged[sink] = number
            found.last_id = max(found.last_id, number)
    unknown = (any(not one.state for one, _ in broken)
               or any(not one.closed for one in found.manifest.missing(one.path.name for one in found.segments)))
    note_missing(damage, found.manifest, found.segments, now_ns)
    found.last_id = max([found.last_id, *(one.last_id for one in found.segments),
                         *(one.last_id for one in found.manifest.vanished)])
    if unknown:  # what cannot be read may hold the next ones
        found.manifest.explain(found.last_id + 1, found.last_id + _SKIPPED_IDS)
        found.last_id += _SKIPPED_IDS
    return found


def _hide(path: Path) -> None:
    """Take a file that an earlier version made readable for everybody away from them."""
    for one in companions(path):
        with suppress(OSError):
            mode = one.stat().st_mode
            if mode & 0o007:
                one.chmod(mode & FILE_MODE)


def _broken(path: Path, manifest: SegmentManifest, readable: Sequence[Segment]) -> Segment:
    """Return what is known of a file that cannot be read: by the list, else by its neighbours and its own time of change."""
    known = manifest.segments.get(path.name)
    if known is not None:
        return Segment(path, known.first_id, known.last_id, trades=known.trades, created_ns=known.created_ns, readable=False,
                       first_timestamp=known.first_timestamp, last_timestamp=known.last_timestamp,
                       last_received=known.last_received, state=CLEAN if known.closed else "")
    changed_ns = path.stat().st_mtime_ns
    before_ns = max((one.last_received for one in readable), default=changed_ns - 3600 * NS_PER_S)
    return Segment(path, 0, -1, created_ns=changed_ns, first_timestamp=min(before_ns, changed_ns), last_timestamp=changed_ns,
                   readable=False)


def _read(path: Path) -> tuple[Segment, int]:
    _roll_back(path)
    segment = read_segment(path)
    return (segment, 0) if segment.state else recover_segment(path)


def _roll_back(path: Path) -> None:
    """Undo a write that a kill cut short outside WAL mode: who only reads the file cannot, and would call it damaged."""
    if path.with_name(path.name + "-journal").exists():
        connection = connect(path)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()


def _record(damage: Damage, found: RecoveredSegments, broken: Sequence[tuple[Segment, str]],
            cut: Sequence[tuple[Segment, str]]) -> None:
    """Record files that cannot be read, and logs that were cut."""
    everywhere = {venue for one in found.segments for venue in one.venues}
    for segment, why in broken:
        known = found.manifest.segments.get(segment.path.name)
        if known is None or not known.unreadable:
            damage.file(segment.path, why)
            damage.gap(segment.path.name, "the file cannot be read", of_segment(segment), segment.venues or everywhere)
    for segment, why in cut:
        damage.file(segment.path, why)
        from_ns = min(segment.last_received or segment.created_ns, max(segment.last_timestamp, segment.created_ns))
        damage.gap(segment.path.name, why, (from_ns - DISORDER_NS, segment.path.stat().st_mtime_ns),
                   segment.venues or everywhere)


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


def recover_last_ids(files: Inventory, catalogue: Catalogue) -> LastIds:
    """Return where every instrument had come to: by the newest stored last ids, and by what was stored after them."""
    for at in range(len(files.segments) - 1, -1, -1):
        segment = files.segments[at]
        stored = _stored_last_ids(segment, files.damage) if segment.readable else None
        if stored is not None:
            break
    else:
        at, stored = 0, (0, {})
    last_ids = LastIds(catalogue, stored[1])
    for _, batch in files.readers.after(files.segments, stored[0]):
        last_ids.record(grouped(batch))
    for segment in files.segments[at:]:
        for (exchange, market_type, symbol), last in _passed_ids(segment.path):
            number = catalogue.ids_of((exchange, market_type)).get(symbol)
            if number is not None:
                last_ids.pass_over(number, last)
    return last_ids


def _stored_last_ids(segment: Segment, damage: Damage) -> tuple[int, dict[Name, LastId]] | None:
    """Return a segment's last ids and the batch up to which they are right, None where it has none that can be read."""
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
    return None


def _passed_ids(path: Path) -> list[tuple[Name, LastId]]:
    """Return the ids that no trade has and that are not among a segment's last ids; none where an earlier version wrote it."""
    try:
        connection = connect(path, read_only=True)
        try:
            rows = connection.execute("SELECT p.*, exchange, market_type, symbol FROM passed_ids p"
                                      " JOIN instruments i ON i.id = p.instrument").fetchall()
        finally:
            connection.close()
    except DAMAGED:
        return []  # an id in it may be missed: then a gap says so
    return [(row[4:7], row[1:3]) for row in rows if row[3] == check_of(*row[:3])]


def last_moment_ns(segments: Sequence[Segment], now_ns: int) -> int:
    """Return when the last run received its last trade, 0 where nothing is stored.

    Our clock of then may have been wrong. Where it was not within an hour of the newest batch's own times, those count.
    """
    newest = next((one for one in reversed(segments) if one.readable and one.trades), None)
    if newest is None:
        return 0
    received_ns, times = newest.last_received, None
    try:
        connection = connect(newest.path, read_only=True)
        try:
            times = connection.execute("SELECT last_received, first_timestamp, last_timestamp FROM batches WHERE id = ?",
                                       (newest.last_id,)).fetchone()
        finally:
            connection.close()
    except DAMAGED:
        pass  # it is named where batches are read
    if times is not None and all(isinstance(one, int) for one in times):
        received_ns, first_ns, last_ns = times
        if not first_ns - _CLOCKS_AGREE_NS <= received_ns <= last_ns + _CLOCKS_AGREE_NS:
            received_ns = first_ns if received_ns < first_ns else last_ns
    return min(int(received_ns), now_ns)
