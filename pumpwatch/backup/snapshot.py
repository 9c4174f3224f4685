"""Read every SQLite file of a data folder as it was at one moment, while a collector goes on writing.

The moment matters: a gap is recorded before the trades behind it, and counts as filled after the trades that fill it. A ledger
that is older or newer than the journal could hide a loss. So the ledger and the open segments are held by read transactions that
begin while nothing is written to the ledger. The ledger of minutes is held first, because every minute counted there must be in
the journal. Closed segments do not change, so their files are read directly.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pumpwatch.errors import StorageError
from pumpwatch.store.coverage import FILE_NAME as MINUTES
from pumpwatch.store.ledger import DAMAGED_HINT, is_missing
from pumpwatch.store.ledger import FILE_NAME as LEDGER
from pumpwatch.store.reader import FOLDER, SUFFIX
from pumpwatch.store.segment import companions, read_segment
from pumpwatch.store.sqlite import DAMAGED, DamagedError, connect, is_damage, is_temporary, no_room, storage_error
from pumpwatch.store.waiting import WAITING_NAME

TRIES, PAUSE_S = 200, 0.05
STEP_PAGES = 2560  # 10 MB


@dataclass(slots=True)
class HeldFile:
    """One file of the snapshot. connection: for a copy by SQLite; None if the file itself is read."""

    name: str
    path: Path
    connection: sqlite3.Connection | None = None

    def copy(self, target: Path, passed: Callable[[int], None]) -> None:
        """Copy the file as it was, and release it. `passed` gets the number of bytes of each step. Raises StorageError."""
        assert self.connection is not None
        page_bytes, total = int(self.connection.execute("PRAGMA page_size").fetchone()[0]), 0

        def progress(status: int, left: int, pages: int) -> None:
            nonlocal total
            done = (pages - left) * page_bytes
            passed(done - total)
            total = done

        try:
            copied = connect(target)
            try:
                copied.execute("PRAGMA synchronous=OFF")
                self.connection.backup(copied, pages=STEP_PAGES, progress=progress, sleep=0)
                copied.execute("PRAGMA journal_mode=DELETE")
            finally:
                copied.close()
        except (sqlite3.Error, OSError) as error:
            place = target.parent.parent if no_room(error) else self.path  # the reading side needs no room
            raise storage_error(place, f"copying {self.name}", error) from error
        finally:
            self.connection.close()


@dataclass(slots=True)
class FolderSnapshot:
    """Every SQLite file of a data folder, and the records that wait for the ledger."""

    files: list[HeldFile] = field(default_factory=list)
    waiting: bytes | None = None
    problems: list[str] = field(default_factory=list)  # files that are left out, with the reason

    def close(self) -> None:
        """Release every file."""
        for held in self.files:
            if held.connection is not None:
                held.connection.close()


@contextmanager
def snapshot(folder: Path) -> Iterator[FolderSnapshot]:
    """Hold a data folder's files. Raises StorageError if nothing is stored, or if a file stays locked."""
    if is_missing(folder):
        raise StorageError(f"{folder}: nothing is stored in this folder", "give the collector's config with -c")
    found, closed = None, {path for path in _segments(folder) if not _is_open(path)}
    for left in range(TRIES, 0, -1):
        try:
            found = _hold(folder, closed)
        except sqlite3.Error as error:
            if is_damage(error):
                raise DamagedError(f"{folder / LEDGER}: the ledger is damaged: {error}", DAMAGED_HINT) from error
            if left == 1 or not is_temporary(error):
                raise storage_error(folder, "reading", error) from error
        if found is not None:
            break
        time.sleep(PAUSE_S)
    if found is None:
        raise StorageError(f"{folder}: the ledger was written to without a pause", "try again")
    try:
        yield found
    finally:
        found.close()


def _hold(folder: Path, closed: set[Path]) -> FolderSnapshot | None:
    """Hold all files at one moment; return None if the ledger or the list of files changed. Raises sqlite3.Error."""
    result = FolderSnapshot()
    try:
        if (folder / MINUTES).is_file():
            _hold_minutes(folder, result)
        watch = connect(folder / LEDGER, read_only=True)
        try:
            before = _version(watch)
            result.files.append(_held(folder, folder / LEDGER))
            waiting, segments = _content(folder / WAITING_NAME), _segments(folder)
            result.files += [HeldFile(_name(folder, path), path) if path in closed or not _is_open(path) else _held(folder, path)
                             for path in segments]
            if (_version(watch), _content(folder / WAITING_NAME), _segments(folder)) == (before, waiting, segments):
                result.waiting = waiting
                return result
        finally:
            watch.close()
    except FileNotFoundError:  # a segment expired
        pass
    except BaseException:
        result.close()
        raise
    result.close()
    return None


def _hold_minutes(folder: Path, result: FolderSnapshot) -> None:
    """Hold the ledger of minutes. A damaged one is left out as a problem, because the journal can rebuild it."""
    try:
        result.files.append(_held(folder, folder / MINUTES))
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        result.problems.append(f"{MINUTES}: {error}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _held(folder: Path, path: Path) -> HeldFile:
    connection = connect(path, read_only=True)
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except BaseException:
        connection.close()
        if not path.exists():
            raise FileNotFoundError(path) from None
        raise
    return HeldFile(_name(folder, path), path, connection)


def _segments(folder: Path) -> list[Path]:
    return sorted((folder / FOLDER).glob(f"*{SUFFIX}"))


def _is_open(path: Path) -> bool:
    """Return whether a segment is being written, or has a write-ahead log. An unreadable segment counts as closed."""
    for companion in companions(path):
        if companion != path:
            with suppress(FileNotFoundError):
                if companion.stat().st_size and not companion.name.endswith("-shm"):
                    return True
    try:
        return not read_segment(path).state
    except StorageError:
        return False
    except DAMAGED as error:
        return is_temporary(error) and path.exists()


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
