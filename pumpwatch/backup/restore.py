"""Restore a checked backup into a folder, completely or not at all.

Everything is unpacked and checked in a hidden folder next to the target, which is renamed to the target in one step at the end.
A killed restore leaves the hidden folder; the next restore removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pumpwatch.backup.checking import contradiction, fetch
from pumpwatch.backup.manifest import BackedUpFile, Manifest
from pumpwatch.backup.questdb import FILES, TRIGGER
from pumpwatch.backup.shelf import Shelf, copy_room
from pumpwatch.backup.sinks import FOLDER as SINKS
from pumpwatch.descriptors import close_now
from pumpwatch.errors import StorageError, UsageError
from pumpwatch.store.folder_lock import LOCK_NAME, TAKEOVER_NAME, lock_folder
from pumpwatch.store.sqlite import make_private, private_folder

UNPACKING = ".restoring"  # suffix of the hidden folder
# names that a folder without data may hold
NOTHING = {LOCK_NAME, TAKEOVER_NAME, "status.json", "inbox"}


def restore(shelf: Shelf, manifest: Manifest, folder: Path, identities: Sequence[Any],
            restored: Callable[[BackedUpFile], None] = lambda row: None) -> None:
    """Restore a backup into an empty or new folder, without its sinks (see `sinks.restore_sink`).

    Raises UsageError if the folder holds data, StorageError if a collector runs on it, the backup is damaged, or the disk
    refuses. The folder is then unchanged.
    """
    folder = folder.absolute()
    rows = [row for row in manifest.files if not row.name.startswith(f"{SINKS}/")]
    with _disk(folder), _held(folder), _unpacking(folder) as fresh:
        copy_room(fresh, sum(row.bytes for row in rows))
        for row in rows:
            path = fresh / row.name
            fetch(shelf, row, path, identities)
            if problem := contradiction(row, path):
                raise StorageError(f"{row.name}: {problem}; nothing was restored", "take another backup: `pumpwatch backup list`")
            path.chmod(row.mode)
            restored(row)
        if any(row.name.startswith(f"{FILES}/") for row in rows):
            make_private(fresh / FILES / TRIGGER)
        os.sync()  # once for all files, because syncing thousands of files singly is slow
        _put_in_place(fresh, folder)


def free_name(folder: Path) -> Path:
    """Return an unused name next to a folder."""
    made = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return folder.with_name(f"{folder.name}.restored-{made}")


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold an existing folder's lock, so that a collector neither runs on it nor starts. Raises UsageError if it holds data."""
    if not folder.exists():
        yield
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "give an empty or new folder: --to FOLDER")
    lock = lock_folder(folder)
    try:
        kept = sorted(path.name for path in folder.iterdir() if path.name not in NOTHING)
        if kept:
            raise UsageError(f"{folder} already holds {kept[0]}" + (f" and {len(kept) - 1} more" if len(kept) > 1 else ""),
                             "restore into an empty folder (--to FOLDER), or beside this one (--beside)")
        yield
    finally:
        close_now(lock)


@contextmanager
def _unpacking(folder: Path) -> Iterator[Path]:
    """Yield a new hidden folder next to the target; it is removed at the end unless it was renamed."""
    private_folder(folder.parent)
    fresh = folder.with_name(f".{folder.name}{UNPACKING}")
    guard = fresh.with_name(f"{fresh.name}.lock")
    make_private(guard)
    handle = os.open(guard, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"{folder}: another restore is writing there", "wait for it") from None
        shutil.rmtree(fresh, ignore_errors=True)  # of a restore that was killed
        private_folder(fresh)
        try:
            yield fresh
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
            guard.unlink(missing_ok=True)
    finally:
        close_now(handle)


def _put_in_place(fresh: Path, folder: Path) -> None:
    """Rename the unpacked folder to the target."""
    inside = folder / "inbox"
    if inside.is_dir():
        inside.rename(fresh / "inbox")
    for name in NOTHING - {"inbox"}:
        (folder / name).unlink(missing_ok=True)
    try:
        fresh.replace(folder)  # rename replaces an empty folder only
    except OSError:
        if (fresh / "inbox").is_dir():
            (fresh / "inbox").rename(inside)  # it may hold requests of a user
        raise
    handle = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        close_now(handle)


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{folder}: restoring failed: {error.strerror or error}; the folder is as it was",
                           "if it is a mount point, or its parent is closed to this user, restore into a folder inside it:"
                           " --to FOLDER/restored") from error
