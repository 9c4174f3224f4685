"""Open a data folder: lock it, read the segments of earlier runs, and find the last id of every instrument."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.store.bounds import of_segment
from pumpwatch.store.codec import grouped
from pumpwatch.store.damage import Damage, record_cut, record_missing
from pumpwatch.store.inventory import Inventory
from pumpwatch.store.last_ids import LastId, LastIds, Name, unpack
from pumpwatch.store.locked import RESERVED_IDS, estimate
from pumpwatch.store.manifest import SegmentManifest
from pumpwatch.store.names import venues_in
from pumpwatch.store.reader import FOLDER, SUFFIX, in_order
from pumpwatch.store.segment import CLEAN, NEW, Segment, companions, read_segment, recover_segment
from pumpwatch.store.sqlite import (
    DAMAGED,
    FILE_MODE,
    READ_BUSY_MS,
    check_of,
    connect,
    is_temporary,
    no_room,
    storage_error,
)
from pumpwatch.store.watermarks import COMPLETE, SAFE, SHARE

log = logging.getLogger(__name__)

_DAMAGED_OR_REFUSED: tuple[type[Exception], ...] = (*DAMAGED, OSError)
_CLOCKS_AGREE_NS = 3600 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Recovery:
    """The state of the last run, recovered from its segments."""

    last_batch_id: int
    last_received_at_ns: int  # 0: nothing is stored
    last_ids: dict[Name, LastId]
    unreadable: list[str]
    clean: bool  # the last run closed the journal


@dataclass(slots=True)
class RecoveredSegments:
    """The segments and watermarks of a folder."""

    manifest: SegmentManifest
    segments: list[Segment] = field(default_factory=list)  # oldest first, unreadable ones before all
    acknowledged: dict[str, int] = field(default_factory=dict)
    last_id: int = 0  # no stored batch has a higher id
    clean: bool = True


def load_segments(folder: Path, damage: Damage, now_ns: int) -> RecoveredSegments:
    """Read every segment's summary, recover segments that a crash left open, and record damaged and missing files.

    A segment that another process has locked gets an estimated summary (locked.py) and is read later. Raises StorageError for a
    newer schema, or if the disk has no room to recover a segment.
    """
    for unfinished in (folder / FOLDER).glob(f"*{SUFFIX}{NEW}*"):
        unfinished.unlink()
    found = RecoveredSegments(SegmentManifest.read(folder))
    if found.manifest.problem:
        damage.log_damage(found.manifest.path, found.manifest.problem)
    broken: list[tuple[Segment, str]] = []
    readable: list[Segment] = []
    cut: list[tuple[Segment, int]] = []  # with the number of lost pages of the log
    for path in sorted((folder / FOLDER).glob(f"*{SUFFIX}")):
        _hide(path)
        try:
            segment, lost = _read(path)
        except _DAMAGED_OR_REFUSED as error:
            if no_room(error):
                raise storage_error(path, "recovery", error) from error
            if is_temporary(error):
                readable.append(estimate(path, found.manifest, readable))
                log.warning("journal segment is locked by another process, it is read later file=%s reason=%s", path.name, error)
            else:
                broken.append((_broken(path, found.manifest, readable), str(error)))
            continue
        readable.append(segment)
        if lost:
            cut.append((segment, lost))
    found.segments = [*(segment for segment, _ in broken), *in_order(readable)]
    for segment in found.segments:
        found.manifest.recall(segment)
        if not segment.venues and not segment.locked:
            segment.venues = venues_in(segment.path)
        damage.recall(segment)
    _explain_reserved(found)
    _record(damage, found, broken, cut)
    found.clean = not broken and (not readable or readable[-1].state == CLEAN)
    _find_last_id(found, broken, damage, now_ns)
    return found


def _explain_reserved(found: RecoveredSegments) -> None:
    """Explain the ids that are reserved for locked files, because the files may stay locked until this run ends."""
    upto_id = 0  # of the earlier segments
    for segment in (segment for segment in found.segments if segment.readable):
        if segment.locked and not segment.state:
            guessed = segment.path.name not in found.manifest.segments  # a guess may leave out the ids before it
            found.manifest.explain(upto_id + 1 if guessed else segment.first_id, segment.last_id)
        upto_id = max(upto_id, segment.last_id)


def _find_last_id(found: RecoveredSegments, broken: Sequence[tuple[Segment, str]], damage: Damage, now_ns: int) -> None:
    """Set the watermarks and the highest id that may be in use."""
    lowest: dict[str, int] = {}
    certain: set[str] = set()  # marks of a file with no locked file after it
    for segment in found.segments:  # the newest file counts, because a mark may have gone back
        if segment.locked:
            certain.clear()
        for name, number in _watermarks(segment.path, damage) if segment.readable and not segment.locked else ():
            found.acknowledged[name] = number
            found.last_id = max(found.last_id, 0 if name.endswith(SHARE) else number)
            lowest[name] = min(number, lowest.get(name, number))
            certain.add(name)
    for name in lowest.keys() - certain:
        if name.endswith((SAFE, COMPLETE, SHARE)):  # a locked file may hold a lower mark: the sink gets some trades twice
            found.acknowledged[name] = lowest[name]
    unknown = (any(not segment.state for segment, _ in broken)
               or any(not gone.closed for gone in found.manifest.missing(segment.path.name for segment in found.segments)))
    record_missing(damage, found.manifest, found.segments, now_ns)
    found.last_id = max([found.last_id, *(segment.last_id for segment in found.segments),
                         *(vanished.last_id for vanished in found.manifest.vanished)])
    if unknown:  # an unreadable file may hold the ids that follow
        found.manifest.explain(found.last_id + 1, found.last_id + RESERVED_IDS)
        found.last_id += RESERVED_IDS


def _hide(path: Path) -> None:
    """Remove other users' access to a file that an earlier version made readable for everyone."""
    for file in companions(path):
        with suppress(OSError):
            mode = file.stat().st_mode
            if mode & 0o007:
                file.chmod(mode & FILE_MODE)


def _broken(path: Path, manifest: SegmentManifest, readable: Sequence[Segment]) -> Segment:
    """Return a summary of an unreadable file: from the list, else from its neighbours and its time of change."""
    known = manifest.segments.get(path.name)
    if known is not None:
        return Segment(path, known.first_id, known.last_id, trades=known.trades, created_ns=known.created_ns, readable=False,
                       first_timestamp=known.first_timestamp, last_timestamp=known.last_timestamp,
                       last_received=known.last_received, state=CLEAN if known.closed else "")
    changed_ns = path.stat().st_mtime_ns
    before_ns = max((segment.last_received for segment in readable), default=changed_ns - 3600 * NS_PER_S)
    return Segment(path, 0, -1, created_ns=changed_ns, first_timestamp=min(before_ns, changed_ns), last_timestamp=changed_ns,
                   readable=False)


def _read(path: Path) -> tuple[Segment, int]:
    _roll_back(path)
    segment = read_segment(path)
    return (segment, 0) if segment.state else recover_segment(path)


def _roll_back(path: Path) -> None:
    """Roll back a write that a kill interrupted outside WAL mode; a read-only connection cannot, and would see damage."""
    if path.with_name(path.name + "-journal").exists():
        connection = connect(path, busy_ms=READ_BUSY_MS)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()


def _record(damage: Damage, found: RecoveredSegments, broken: Sequence[tuple[Segment, str]],
            cut: Sequence[tuple[Segment, int]]) -> None:
    """Record unreadable files and truncated logs."""
    everywhere = {venue for segment in found.segments for venue in segment.venues}
    for segment, why in broken:
        known = found.manifest.segments.get(segment.path.name)
        if known is None or not known.unreadable:
            damage.log_damage(segment.path, why)
            damage.record_gap(segment.path.name, "the file cannot be read", of_segment(segment), segment.venues or everywhere)
    for segment, lost in cut:
        record_cut(damage, segment, lost, everywhere)


def _watermarks(path: Path, damage: Damage) -> list[tuple[str, int]]:
    try:
        connection = connect(path, read_only=True)
        try:
            rows = connection.execute("SELECT sink, batch_id, checksum FROM acknowledged").fetchall()
        finally:
            connection.close()
    except DAMAGED as error:
        if not is_temporary(error):
            damage.log_damage(path, f"watermarks: {error}")
        return []
    whole = [(sink, number) for sink, number, check in rows if check == check_of(sink, number)]
    if len(whole) < len(rows):  # an earlier mark applies, and the sink gets some trades twice
        damage.log_damage(path, "watermarks: a checksum does not match")
    return whole


def recover_last_ids(files: Inventory, catalogue: Catalogue) -> LastIds:
    """Return every instrument's last id: from the newest stored last ids, and from the trades stored after them.

    A locked segment is left out and added to `files.uncounted`. An instrument that traded in it then has an older last id, and
    its next trade is recorded as a gap; an instrument that only traded there has no last id. `count_late` counts the segment
    once it is readable.
    """
    return _last_ids_of(files.segments, files, catalogue, files.uncounted)


def count_late(files: Inventory, last_ids: LastIds, catalogue: Catalogue) -> bool:
    """Add the trades of segments that were locked at the start; return whether the last ids now count every stored trade."""
    for segment in list(files.uncounted):
        locked: list[Segment] = []
        late = _last_ids_of([segment], files, catalogue, locked) if not segment.locked else None
        if late is not None and not locked:
            last_ids.merge(late.by_name())
            files.uncounted.remove(segment)
    return not files.uncounted


def _last_ids_of(segments: Sequence[Segment], files: Inventory, catalogue: Catalogue, locked: list[Segment]) -> LastIds:
    """Return the last ids by these segments alone; add the segments that are locked now to `locked`."""
    for at in range(len(segments) - 1, -1, -1):
        segment = segments[at]
        stored = _stored_last_ids(segment, files.damage) if segment.readable and not segment.locked else None
        if stored is not None:
            break
    else:
        at, stored = 0, (0, {})
    last_ids = LastIds(catalogue, stored[1])
    for segment in segments:
        try:
            for _, batch in files.readers.after([segment], stored[0]):
                last_ids.record(grouped(batch))
        except StorageError:
            locked.append(segment)
    for segment in segments[at:]:
        for (exchange, market_type, symbol), last in _passed_ids(segment.path) if not segment.locked else ():
            number = catalogue.ids_of((exchange, market_type)).get(symbol)
            if number is not None:
                last_ids.pass_over(number, last)
    return last_ids


def _stored_last_ids(segment: Segment, damage: Damage) -> tuple[int, dict[Name, LastId]] | None:
    """Return a segment's last ids and the last batch that they include; None if they are missing or unreadable."""
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
        if not is_temporary(error):
            damage.log_damage(segment.path, f"last ids: {error}")
    return None


def _passed_ids(path: Path) -> list[tuple[Name, LastId]]:
    """Return ids that rows without a trade used up since the segment's last ids were stored.

    The list is empty for a file of an earlier version, which has no such table.
    """
    try:
        connection = connect(path, read_only=True)
        try:
            rows = connection.execute("SELECT p.*, exchange, market_type, symbol FROM passed_ids p"
                                      " JOIN instruments i ON i.id = p.instrument").fetchall()
        finally:
            connection.close()
    except DAMAGED:
        return []  # the cost is a gap for an id that is not missing
    return [(row[4:7], row[1:3]) for row in rows if row[3] == check_of(*row[:3])]


def last_moment_ns(segments: Sequence[Segment], now_ns: int) -> int:
    """Return when the last run received its last trade, in ns; 0 if nothing is stored.

    That run's clock may have been wrong: if it was more than an hour off the newest batch's own times, those times count.
    """
    newest = next((segment for segment in reversed(segments) if segment.readable and segment.trades), None)
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
        pass  # the next reader of the batch reports it
    if times is not None and all(isinstance(value, int) for value in times):
        received_ns, first_ns, last_ns = times
        if not first_ns - _CLOCKS_AGREE_NS <= received_ns <= last_ns + _CLOCKS_AGREE_NS:
            received_ns = first_ns if received_ns < first_ns else last_ns
    return min(int(received_ns), now_ns)
