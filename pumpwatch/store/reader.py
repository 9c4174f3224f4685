"""Read a journal file: by batch id for the drain, by coin and time for a query, skipping damaged parts.

Each read is short and holds no lock afterwards, so readers never delay the writer, and a file may be unlinked meanwhile. A file
that is locked for longer than READ_BUSY_MS raises StorageError: only damage is left out, not locked data.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import StorageError
from pumpwatch.model import TradeBatch
from pumpwatch.store import codec
from pumpwatch.store.last_ids import Name
from pumpwatch.store.manifest import FILE as MANIFEST
from pumpwatch.store.manifest import SegmentManifest
from pumpwatch.store.names import Instruments, load_names, read_instruments
from pumpwatch.store.segment import LONG_NS, Segment, check_schema, read_segment
from pumpwatch.store.sqlite import DAMAGED, connect, raise_if_temporary

log = logging.getLogger(__name__)

Stamp = tuple[int, int, int] | None  # inode, time of the last change, size
OnDamage = Callable[[Path, int, str], None]  # file, batch id, reason
FOLDER = "journal"
SUFFIX = ".sqlite"
_OVERLAPPING = f"""
SELECT id, head FROM batches INDEXED BY batches_time
    WHERE last_timestamp >= ?1 AND last_timestamp < ?4 AND first_timestamp < ?2 AND id <= ?3 AND id > ?5
UNION ALL SELECT id, head FROM batches INDEXED BY batches_long
    WHERE last_timestamp >= ?1 AND first_timestamp < ?2 AND id <= ?3 AND id > ?5
        AND last_timestamp - first_timestamp > {LONG_NS}
"""


class SegmentReader:
    """One open file. Use it from one thread at a time.

    The constructor raises sqlite3.Error if the file cannot be opened. The methods raise StorageError if it is locked.
    """

    def __init__(self, path: Path, catalogue: Catalogue, on_damage: OnDamage, *, own_run: bool = False) -> None:
        self.path = path
        self._catalogue, self._on_damage, self._own_run = catalogue, on_damage, own_run
        self._decoder = codec.BatchDecoder()
        self._table: NDArray[np.int32] = np.empty(0, np.int32)
        self._connection = connect(path, read_only=True)
        try:
            row = self._connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
            check_schema(path, row and row[0])
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def instruments(self, numbers: Sequence[int] | None = None) -> Instruments:
        """Return venue and instrument by the file's own number (all, or these numbers), without unreadable ones."""
        try:
            return read_instruments(self._connection, numbers)
        except sqlite3.Error as error:
            raise_if_temporary(error, self.path)
            raise

    def after(self, batch_id: int, last_id: int) -> Iterator[tuple[int, TradeBatch]]:
        """Yield the readable batches in (batch_id, last_id], in order."""
        at = batch_id
        try:
            cursor = self._connection.execute(
                "SELECT id, head, body FROM batches WHERE id > ? AND id <= ? ORDER BY id", (batch_id, last_id))
            for number, head, body in cursor:
                for missing in range(at + 1, number):
                    self._on_damage(self.path, missing, "it is not in the file")
                at = number
                batch = self._readable(number, head, body)
                if batch is not None:
                    yield number, batch
        except DAMAGED as error:
            raise_if_temporary(error, self.path)
            log.warning("segment damaged file=%s after_batch=%d reason=%s", self.path.name, at, error)
            yield from self._one_by_one(at + 1, last_id)
            return
        for missing in range(at + 1, last_id + 1):
            self._on_damage(self.path, missing, "it is not in the file")

    def _one_by_one(self, first_id: int, last_id: int) -> Iterator[tuple[int, TradeBatch]]:
        """Read each id by itself, so that a damaged page only loses the batches on it."""
        for number in range(first_id, last_id + 1):
            parts = self._parts(number)
            batch = self._readable(number, *parts) if parts else None
            if batch is not None:
                yield number, batch

    def _parts(self, number: int) -> tuple[object, object] | None:
        try:
            row: tuple[object, object] | None = self._connection.execute(
                "SELECT head, body FROM batches WHERE id = ?", (number,)).fetchone()
        except DAMAGED as error:
            raise_if_temporary(error, self.path)
            self._on_damage(self.path, number, str(error))
            return None
        if row is None:
            self._on_damage(self.path, number, "it is not in the file")
        return row

    def _decode(self, number: int, head: object, body: object) -> TradeBatch | None:
        try:
            if not isinstance(head, bytes) or not isinstance(body, bytes):
                raise StorageError("a stored batch is damaged: it is not a blob")
            return self._decoder.decode(head, body)
        except StorageError as error:
            self._on_damage(self.path, number, error.message)
            return None

    def _readable(self, number: int, head: object, body: object) -> TradeBatch | None:
        """Return a batch with this process's instrument ids, None if it is unreadable."""
        batch = self._decode(number, head, body)
        if batch is None or self._own_run:
            return batch
        translated = self._translate(batch)
        if len(translated) < len(batch):
            self._on_damage(self.path, number, f"{len(batch) - len(translated)} trades whose symbol cannot be read")
        return translated if len(translated) else None

    def _translate(self, batch: TradeBatch, only: Sequence[int] | None = None) -> TradeBatch:
        """Replace the file's instrument ids with this process's ids; leave out trades whose instrument name is unreadable.

        only: the ids in the batch, so that only their names are read.
        """
        top, table = int(batch.instrument.max(initial=-1)), self._table
        if top >= len(table):
            known = self.instruments(only)
            table = np.full(max(top, *known, 0) + 1, -1, np.int32)
            for number, (venue, instrument) in known.items():
                table[number] = self._catalogue.add_if_new(venue, instrument)
            if only is None:
                self._table = table
        numbers = table[batch.instrument]
        named = numbers >= 0
        return replace(batch, instrument=numbers) if named.all() else replace(batch, instrument=numbers).take(named)

    def find(self, names: Sequence[Name], start_ns: int, end_ns: int, last_id: int, *, by_index: bool = True) -> TradeBatch:
        """Return the trades of these instruments in [start_ns, end_ns), in storage order.

        by_index: False reads the head of every batch, which is slower but correct even if the time index is damaged.
        """
        wanted = self._numbers(names)
        if not len(wanted):
            return TradeBatch.empty()
        found: list[TradeBatch] = []
        for number in self._holding(wanted, start_ns, end_ns, last_id, by_index):
            parts = self._parts(number)
            batch = self._decode(number, *parts) if parts else None
            if batch is not None:
                firsts = batch.instrument.searchsorted(wanted, "left").tolist()
                lasts = batch.instrument.searchsorted(wanted, "right").tolist()
                found += [batch.take(slice(first, last)) for first, last in zip(firsts, lasts, strict=True)
                          if first < last]
        batch = TradeBatch.concat(found)
        batch = batch.take((batch.timestamp >= start_ns) & (batch.timestamp < end_ns))
        return batch if self._own_run or not len(batch) else self._translate(batch, wanted.tolist())

    def between(self, start_ns: int, end_ns: int, last_id: int, after_id: int = -1) -> Iterator[tuple[int, TradeBatch]]:
        """Yield the readable batches in (after_id, last_id] that may hold a trade of [start_ns, end_ns), in order."""
        rows = self._connection.execute(_OVERLAPPING, _times(start_ns, end_ns, last_id, after_id)).fetchall()
        for number in sorted({row[0] for row in rows}):
            parts = self._parts(number)
            batch = self._readable(number, *parts) if parts else None
            if batch is not None:
                yield number, batch

    def count_between(self, start_ns: int, end_ns: int, after_id: int, last_id: int) -> int:
        """Return the number of trades in the batches that `between` yields."""
        times = _times(start_ns, end_ns, last_id, after_id)
        return int(self._connection.execute(f"SELECT coalesce(sum(trades), 0) FROM (SELECT DISTINCT id, trades FROM ("
                                            f"{_OVERLAPPING.replace('id, head', 'id, trades')}))", times).fetchone()[0])

    def _numbers(self, names: Sequence[Name]) -> NDArray[np.int64]:
        numbers: list[int] = []
        try:
            for name in names:
                numbers += [row[0] for row in self._connection.execute(
                    "SELECT id FROM instruments WHERE exchange = ? AND market_type = ? AND symbol = ?", name)]
        except DAMAGED as error:
            raise_if_temporary(error, self.path)
            wanted = set(names)
            numbers = [number for number, (venue, instrument) in self.instruments().items()
                       if (*venue, instrument.symbol) in wanted]
        return np.array(sorted(numbers), np.int64)

    def _holding(self, wanted: NDArray[np.int64], start_ns: int, end_ns: int, last_id: int, by_index: bool) -> list[int]:
        """Return the batches of that time whose heads name a wanted instrument."""
        try:
            rows = (self._connection.execute(_OVERLAPPING, _times(start_ns, end_ns, last_id)).fetchall()
                    if by_index else self._heads(last_id))
        except DAMAGED as error:
            raise_if_temporary(error, self.path)
            rows = self._heads(last_id)
        heads = [head if isinstance(head, bytes) else b"" for _, head in rows]
        return sorted({rows[index][0] for index in codec.which_hold(heads, wanted.tolist())})

    def _heads(self, last_id: int) -> list[tuple[int, object]]:
        """Return the id and the head of every readable batch."""
        rows: list[tuple[int, object]] = []
        try:
            for row in self._connection.execute("SELECT id, head FROM batches NOT INDEXED WHERE id <= ? ORDER BY id", (last_id,)):
                rows.append(row)
        except DAMAGED as error:
            raise_if_temporary(error, self.path)
            at = rows[-1][0] if rows else self._first_id() - 1
            for number in range(at + 1, last_id + 1):
                parts = self._parts(number)
                rows += [(number, parts[0])] if parts else []
        return rows

    def _first_id(self) -> int:
        return int(self._connection.execute("SELECT value FROM meta WHERE key = 'first_batch_id'").fetchone()[0])


class JournalReader:
    """Reads a data folder's journal from another process, whether its collector runs or not. Takes no lock.

    unreadable: one line for each part that was left out: damage, and files that another process has locked.
    """

    def __init__(self, folder: Path, catalogue: Catalogue) -> None:
        self.unreadable: list[str] = []
        self._folder, self._catalogue = folder / FOLDER, catalogue
        self._closed: dict[str, tuple[Stamp, Segment]] = {}
        self._manifest: tuple[Stamp, SegmentManifest] | None = None

    def segments(self) -> list[Segment]:
        """Return the readable segments, oldest first; do not change them.

        The summary of a closed file is only read again after the file has changed.
        """
        segments, closed, manifest = [], {}, self._listed()
        for name, stamp in self._files():
            kept, path = self._closed.get(name), self._folder / name
            try:
                if kept is None or kept[0] != stamp:
                    kept = stamp, read_segment(path)
            except DAMAGED as error:
                if path.exists():
                    self.unreadable.append(f"{name}: {error}")
                continue
            segments.append(kept[1])
            if kept[1].state and stamp is not None:
                closed[name] = kept
        self._closed = closed
        for segment in segments:
            manifest.recall(segment)
        return in_order(segments)

    def _files(self) -> list[tuple[str, Stamp]]:
        try:
            with os.scandir(self._folder) as entries:
                return sorted((entry.name, stamp_of(entry)) for entry in entries if entry.name.endswith(SUFFIX))
        except OSError:
            return []

    def _listed(self) -> SegmentManifest:
        """Return the list of segments; read it again if its file has changed."""
        stamp = stamp_of(self._folder.with_name(MANIFEST))
        if self._manifest is None or stamp is None or self._manifest[0] != stamp:
            self._manifest = stamp, SegmentManifest.read(self._folder.parent)
        return self._manifest[1]

    def load_instruments(self) -> None:
        """Add every instrument of the journal to the catalogue, so that a coin can be looked up."""
        load_names(self.segments(), self._catalogue, lambda path, why: self.unreadable.append(f"{path.name}: {why}"))

    def query(self, names: Sequence[Name], start_ns: int, end_ns: int, segments: Sequence[Segment] | None = None) -> TradeBatch:
        """Return these instruments' trades in [start_ns, end_ns), by timestamp. segments: the current ones, if known."""
        found: list[TradeBatch] = []
        for segment in self.segments() if segments is None else segments:
            if segment.last_timestamp < start_ns or segment.first_timestamp >= end_ns:
                continue
            reader = self._open(segment)
            if reader is None:
                continue
            try:
                found.append(reader.find(names, start_ns, end_ns, segment.last_id, by_index=not segment.index_damaged))
            except StorageError as error:  # it is locked
                self.unreadable.append(f"{segment.path.name}: {error.message}")
            except DAMAGED as error:
                self.unreadable.append(f"{segment.path.name}: {error}")
            finally:
                reader.close()
        return by_time(found)

    def _open(self, segment: Segment) -> SegmentReader | None:
        try:
            return SegmentReader(segment.path, self._catalogue, self._damage)
        except sqlite3.Error as error:
            if segment.path.exists():
                self.unreadable.append(f"{segment.path.name}: {error}")
            return None

    def _damage(self, path: Path, batch_id: int, why: str) -> None:
        self.unreadable.append(f"{path.name}: batch {batch_id}: {why}")


def ignore_damage(*damage: object) -> None:
    """Ignore damage, which other readers report."""


def stamp_of(file: Path | os.DirEntry[str]) -> Stamp:
    """Return a value that differs once the file has changed; None if the file does not exist."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _times(start_ns: int, end_ns: int, last_id: int, after_id: int = -1) -> tuple[int, ...]:
    """Return the SQL parameters of _OVERLAPPING."""
    return start_ns, end_ns, last_id, end_ns + LONG_NS, after_id


def in_order(segments: list[Segment]) -> list[Segment]:
    """Sort segments by id, and cut the ids of each before the next one begins.

    The ids that are cut belong to a commit that failed and was repeated in the next file.
    """
    segments.sort(key=lambda segment: (segment.first_id, segment.ordinal, segment.created_ns, segment.path.name))
    for segment, following in pairwise(segments):
        segment.last_id = min(segment.last_id, following.first_id - 1)
    return segments


def by_time(batches: Sequence[TradeBatch]) -> TradeBatch:
    """Return the rows of all batches, sorted by timestamp; rows with equal timestamps keep their order."""
    batch = TradeBatch.concat([batch for batch in batches if len(batch)])
    return batch.take(batch.timestamp.argsort(kind="stable")) if len(batch) > 1 else batch
