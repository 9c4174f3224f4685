"""Copy a data folder into one tar file, and restore it.

Each SQLite file is copied by SQLite's own backup, so the copy is consistent beside a running collector: it holds everything
committed when the file was copied. Only owner and group may read the tar and the restored files. The tar begins with
`manifest.json`: version, time, and size and SHA-256 of every file.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any

import msgspec

from pumpwatch import __version__
from pumpwatch.clock import Clock
from pumpwatch.errors import StorageError, UsageError
from pumpwatch.store.coverage import FILE_NAME as MINUTES_FILE
from pumpwatch.store.ledger import FILE_NAME, Ledger, is_missing
from pumpwatch.store.sqlite import FILE_MODE, connect, make_private, private_folder, storage_errors

MANIFEST = "manifest.json"
PATTERNS = (FILE_NAME, MINUTES_FILE, "journal/*.sqlite")  # minutes first: a batch counted there is in the journal
NOT_A_BACKUP = "give a file that `pumpwatch backup` wrote; nothing was restored"


def backup(folder: Path, target: Path, clock: Clock | None = None) -> list[dict[str, Any]]:
    """Write the tar, whole or not at all, and return one row for each file: name, bytes, sha256.

    Raises UsageError where the target exists, StorageError where nothing is stored or the disk fails.
    """
    if target.exists():
        raise UsageError(f"{target} already exists", "give another name, or remove it first")
    sources = [path for pattern in PATTERNS for path in sorted(folder.glob(pattern))]
    if not sources:
        raise StorageError(f"{folder}: nothing is stored in this folder", "give the collector's config with -c")
    partial = target.with_name(f".{target.name}.partial")
    with _disk(target), tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=".pumpwatch-backup-") as scratch:
        rows: list[dict[str, Any]] = []
        for source in sources:
            name = source.relative_to(folder).as_posix()
            copy = Path(scratch) / name
            private_folder(copy.parent)
            if name == FILE_NAME:
                _check_ledger(folder)
            if not _copy(source, copy):
                continue
            rows.append({"name": name, "bytes": copy.stat().st_size, "sha256": _sum(copy)})
        manifest = Path(scratch) / MANIFEST
        manifest.write_bytes(msgspec.json.format(msgspec.json.encode(
            {"version": __version__, "made_at_ns": (clock or Clock()).now_ns(), "files": rows})))
        try:
            make_private(partial)
            with tarfile.open(partial, "w") as tar:
                for name in (MANIFEST, *(row["name"] for row in rows)):
                    tar.add(Path(scratch) / name, name, recursive=False)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    return rows


def restore(source: Path, folder: Path) -> list[dict[str, Any]]:
    """Unpack a backup into a data folder without a journal and a ledger, and return its rows.

    Every file's sum is checked before the first one is put in place. Raises UsageError where the folder is in use or the
    file is not a backup, StorageError where a sum differs or the disk fails.
    """
    existing = [path for pattern in PATTERNS for path in folder.glob(pattern)]
    if existing:
        raise UsageError(f"{folder} already holds {existing[0].relative_to(folder)}",
                         "restore into an empty folder: set store.dir to one")
    with _disk(folder):
        private_folder(folder)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".pumpwatch-restore-") as scratch:
            rows = _unpack(source, Path(scratch))
            for row in rows:
                place = folder / row["name"]
                private_folder(place.parent)
                (Path(scratch) / row["name"]).chmod(FILE_MODE)
                (Path(scratch) / row["name"]).replace(place)
    return rows


def _unpack(source: Path, scratch: Path) -> list[dict[str, Any]]:
    """Unpack the files that the manifest names, and nothing else, and check every sum."""
    try:
        with tarfile.open(source, "r:") as tar:
            rows: list[dict[str, Any]] = msgspec.json.decode(_member(tar, MANIFEST).read())["files"]
            for row in rows:
                if not any(fnmatchcase(row["name"], pattern) for pattern in PATTERNS) or ".." in row["name"]:
                    raise UsageError(f"{source}: not a backup of pumpwatch: it names {row['name']}", NOT_A_BACKUP)
                path = scratch / row["name"]
                private_folder(path.parent)
                make_private(path)
                with path.open("wb") as target:
                    shutil.copyfileobj(_member(tar, row["name"]), target)
    except (tarfile.TarError, KeyError, TypeError, msgspec.DecodeError) as error:
        raise UsageError(f"{source}: not a backup of pumpwatch: {error}", NOT_A_BACKUP) from error
    for row in rows:
        if _sum(scratch / row["name"]) != row["sha256"]:
            raise StorageError(f"{source}: {row['name']} is damaged", "restore another backup: nothing was restored")
    return rows


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    member = tar.extractfile(name)
    if member is None:
        raise KeyError(name)
    return member


def _copy(source: Path, copy: Path) -> bool:
    """Copy a database. Return False where it expired in the meantime."""
    with storage_errors(source, "copying"):
        try:
            origin = connect(source, read_only=True)
        except sqlite3.OperationalError:
            if source.exists():
                raise
            return False
        target = connect(copy)
        try:
            origin.backup(target)
        finally:
            target.close()
            origin.close()
    return True


def _check_ledger(folder: Path) -> None:
    """Raise StorageError for a damaged ledger: SQLite copies damaged pages without an error."""
    is_missing(folder)
    ledger = Ledger(folder, read_only=True)
    try:
        ledger.check_pages()
    finally:
        ledger.close()


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _disk(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{place}: {error.strerror or error}",
                           "check that the disk has room and that this user may write there") from error
