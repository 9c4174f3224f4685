"""Write the files of one backup as objects into a folder, except those that exist already."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from pumpwatch.backup.manifest import OBJECTS, BackedUpFile
from pumpwatch.backup.objects import ENCRYPTED, ENDING, ReadPace, pack
from pumpwatch.backup.shelf import FolderShelf
from pumpwatch.backup.snapshot import HeldFile
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.sink_abilities import Readable
from pumpwatch.store.reader import FOLDER, SUFFIX
from pumpwatch.store.segment import read_segment
from pumpwatch.store.sqlite import DAMAGED, FILE_MODE, connect

# A page written through a memory map changes the file's mtime within half a minute. So a file that had been unchanged for this
# long when a backup read it is still the same while its mtime and size are the same.
STILL_NS = 600 * NS_PER_S
CHANGED_TRIES = 3
UNREADABLE: tuple[type[Exception], ...] = (*DAMAGED, StorageError)


class Writing:
    """Writes the objects of one backup. `before`: reusable files of the last backup by name, which was made at `before_ns`."""

    def __init__(self, shelf: FolderShelf, partial: Path, recipients: Sequence[Any], pace: ReadPace,
                 before: Mapping[str, BackedUpFile], before_ns: int) -> None:
        self.folder = shelf.folder
        self._shelf, self._partial, self._recipients, self._pace = shelf, partial, recipients, pace
        self._before, self._before_ns = before, before_ns
        self._sizes = shelf.sizes()
        self.rows: dict[str, BackedUpFile] = {}
        self.problems: list[str] = []
        self.new_bytes = 0  # of newly written objects
        self.reused = 0

    def add_copy(self, held: HeldFile) -> None:
        """Add a file that SQLite copies. A copy with a broken page is added, and recorded as a problem."""
        copy = self._partial / "copy.sqlite"
        copy.unlink(missing_ok=True)
        held.copy(copy, self._pace.passed)
        if broken := broken_page(copy):
            self.problems.append(f"{held.name}: {broken}")
        with copy.open("rb") as source:
            self._store(held.name, source, 0, figures(copy, held.name))
        copy.unlink()

    def add_file(self, name: str, path: Path, *, may_change: bool = False) -> bool:
        """Add a file as it is; return whether it exists. A file that changes while it is read is read again.

        may_change: the content read during a change is accepted.
        """
        for _ in range(CHANGED_TRIES):
            try:
                state = path.stat()
                if self._is_as_before(name, state):
                    return True
                with path.open("rb") as source:
                    changed_ns = state.st_mtime_ns
                    segment = name.startswith(f"{FOLDER}/") and name.endswith(SUFFIX)
                    known = figures(path, name) if segment else {"mode": stat.S_IMODE(state.st_mode)}
                    self._store(name, source, changed_ns, known)
                    after = os.fstat(source.fileno())
            except FileNotFoundError:
                self.rows.pop(name, None)
                return False
            if may_change or (after.st_mtime_ns, after.st_size) == (state.st_mtime_ns, state.st_size):
                return True
        self.problems.append(f"{name}: it changed while it was read")
        return True

    def add_bytes(self, name: str, source: Readable, rows: Mapping[str, int] | None = None) -> None:
        """Add the content of a source, with its number of rows."""
        self._store(name, source, 0, {"rows": dict(rows or {})})

    def add_part(self, name: str, source: Readable, key: str) -> None:
        """Add a part of a sink, whose rows are not counted yet."""
        self._store(name, source, 0, {"key": key})

    def count_rows(self, name: str, rows: Mapping[str, int]) -> None:
        """Record the numbers of rows of an added file."""
        self.rows[name] = msgspec.structs.replace(self.rows[name], rows=dict(rows))

    def drop_below(self, folder: str) -> None:
        """Remove the files below a folder from the backup again."""
        for name in [name for name in self.rows if name.startswith(f"{folder}/")]:
            del self.rows[name]

    def has_before(self, name: str, key: str) -> bool:
        """Return whether the last backup holds this file with the same, not empty, key."""
        row = self._before.get(name)
        return bool(key) and row is not None and row.key == key and self._sizes.get(row.object) == row.stored_bytes

    def rows_before(self, name: str) -> dict[str, int] | None:
        """Return the numbers of rows of a file in the last backup; None without it."""
        row = self._before.get(name)
        return None if row is None else row.rows

    def add_again(self, name: str) -> bool:
        """Reuse a file of the last backup; return whether that is possible."""
        row = self._before.get(name)
        if row is None or self._sizes.get(row.object) != row.stored_bytes:
            return False
        self.rows[name] = row
        self.reused += 1
        return True

    def _is_as_before(self, name: str, state: os.stat_result) -> bool:
        row = self._before.get(name)
        still = row is not None and (row.changed_ns, row.bytes) == (state.st_mtime_ns, state.st_size) and (
            self._before_ns - state.st_mtime_ns > STILL_NS)
        return still and self.add_again(name)

    def _store(self, name: str, source: Readable, changed_ns: int, known: Mapping[str, Any]) -> None:
        partial = self._partial / "object"
        sha256, size = pack(source, partial, self._recipients, self._pace)
        target = f"{OBJECTS}{sha256[:2]}/{sha256}{ENDING}{ENCRYPTED if self._recipients else ''}"
        stored = self._sizes.get(target)
        if stored is None:
            stored = partial.stat().st_size
            partial.chmod(FILE_MODE & known.get("mode", FILE_MODE))  # a file that only its owner may read stays private
            self._shelf.put(partial, target)
            self._sizes[target] = stored
            self.new_bytes += stored
        else:
            partial.unlink()
            self.reused += 1
        self.rows[name] = BackedUpFile(name, size, sha256, target, stored, changed_ns, **known)


def broken_page(path: Path) -> str:
    """Return the first problem that SQLite finds in a file; empty if it is intact."""
    try:
        with closing(connect(path, read_only=True)) as connection:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        return "" if found == "ok" else " ".join(found.split())
    except sqlite3.Error as error:
        return str(error)


def figures(path: Path, name: str) -> dict[str, Any]:
    """Return the counts of a SQLite file as BackedUpFile has them; {} if it cannot be read."""
    try:
        with closing(connect(path, read_only=True)) as connection:
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"
                                                           " AND name NOT LIKE 'sqlite_%' ORDER BY name")]
            rows = {table: int(connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]) for table in tables}
        if not name.startswith(f"{FOLDER}/"):
            return {"rows": rows}
        segment = read_segment(path)
        if not segment.trades:
            return {"rows": rows}
        return {"rows": rows, "trades": segment.trades, "first_timestamp": segment.first_timestamp,
                "last_timestamp": segment.last_timestamp}
    except UNREADABLE:
        return {}
