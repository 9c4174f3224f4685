"""Places of backups: their interface, a place in a folder, and the removal of old backups."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from pumpwatch.backup.manifest import MOST_BYTES, NAME, OBJECT, OBJECTS, Manifest, decode
from pumpwatch.clock import NS_PER_S
from pumpwatch.descriptors import close_now
from pumpwatch.errors import StorageError, UsageError
from pumpwatch.sink_abilities import Readable
from pumpwatch.store.sqlite import make_private, private_folder, write_private

DAY_NS = 86_400 * NS_PER_S
LOCK, PARTIAL = "lock", ".partial"
ROOM = "make room on that disk: earlier backups are complete, and this one was not written"


class Shelf(Protocol):
    """A place of backups. Names are those of manifests and of objects. Methods block."""

    where: str  # for messages

    def manifests(self) -> list[str]:
        """Return the names of all backups, oldest first."""

    def read(self, name: str) -> bytes:
        """Return the content of a manifest. Raises StorageError if it is missing."""

    def open(self, name: str) -> AbstractContextManager[Readable]:
        """Open an object. Raises StorageError if it is missing."""

    def sizes(self) -> dict[str, int]:
        """Return the size of every object."""

    def remove(self, names: Sequence[str]) -> None:
        """Remove manifests or objects; ignore missing ones."""


class FolderShelf:
    """Backups in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.where = folder, str(folder)

    def manifests(self) -> list[str]:
        with disk(self.folder):
            if not self.folder.is_dir():
                return []
            return sorted(path.name for path in self.folder.iterdir() if NAME.fullmatch(path.name))

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read(MOST_BYTES)

    @contextmanager
    def open(self, name: str) -> Iterator[Readable]:
        try:
            file = (self.folder / name).open("rb")
        except FileNotFoundError:
            raise StorageError(f"{self.folder / name} is missing", "take another backup: `pumpwatch backup list` shows them"
                               ) from None
        except OSError as error:
            raise StorageError(f"{self.folder / name}: {error.strerror}") from error
        with file:
            yield file

    def sizes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        with disk(self.folder):
            for path in (self.folder / OBJECTS).glob("??/*"):
                name = path.relative_to(self.folder).as_posix()
                if OBJECT.fullmatch(name):
                    with suppress(FileNotFoundError):
                        found[name] = path.stat().st_size
        return found

    def remove(self, names: Sequence[str]) -> None:
        with disk(self.folder):
            for name in names:
                (self.folder / name).unlink(missing_ok=True)

    def put(self, partial: Path, name: str) -> None:
        """Move a synced file to its name."""
        private_folder((self.folder / name).parent)
        partial.replace(self.folder / name)

    def write(self, name: str, content: bytes) -> None:
        """Write a manifest, synced with the folders of its objects: from now on the backup exists."""
        for path in {(self.folder / OBJECTS), *(self.folder / OBJECTS).glob("??")}:
            if path.is_dir():
                _sync(path)
        write_private(self.folder / name, content)

    @contextmanager
    def unless_locked(self) -> Iterator[bool]:
        """Hold the folder's lock and yield True; yield False if another process makes a backup there."""
        with disk(self.folder):
            private_folder(self.folder)
            make_private(self.folder / LOCK)
            handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free = True
            except BlockingIOError:
                free = False
            yield free
        finally:
            close_now(handle)

    @contextmanager
    def locked(self) -> Iterator[Path]:
        """Hold the folder's lock and yield an empty folder for unfinished files.

        Raises StorageError if another process makes a backup there. The files of a killed backup are removed.
        """
        with self.unless_locked() as free:
            if not free:
                raise StorageError(f"{self.folder}: another backup is being made there", "wait for it")
            partial = self.folder / PARTIAL
            with disk(self.folder):
                shutil.rmtree(partial, ignore_errors=True)
                private_folder(partial)
            try:
                yield partial
            finally:
                shutil.rmtree(partial, ignore_errors=True)


def prune(shelf: Shelf, keep_days: int, now_ns: int) -> list[str]:
    """Remove the backups older than `keep_days`, and the objects that no backup needs; return the removed backups.

    The newest backup always stays. If a remaining manifest cannot be read, every object stays.
    """
    names = shelf.manifests()
    limit = now_ns - keep_days * DAY_NS
    manifests: dict[str, Manifest | None] = {}
    for name in names:
        try:
            manifests[name] = decode(shelf.read(name), name)
        except (StorageError, UsageError):
            manifests[name] = None
    old = [name for name in names[:-1] if (found := manifests[name]) is not None and found.made_at_ns < limit]
    shelf.remove(old)  # manifests first: a kill in between may leave extra objects, but no missing ones
    kept = [manifests[name] for name in names if name not in old]
    if all(kept):
        needed = {name for found in kept if found is not None for name in found.objects}
        shelf.remove([name for name in shelf.sizes() if name not in needed])
    return old


@contextmanager
def disk(place: Path) -> Iterator[None]:
    """Raise errors of the disk as StorageError."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{place}: {error.strerror or error}", ROOM) from error


def copy_room(place: Path, needed: int) -> None:
    """Raise StorageError if a disk has less room than needed."""
    with disk(place):
        state = os.statvfs(place)
    if (free := state.f_bavail * state.f_frsize) < needed:
        raise StorageError(f"{place}: {needed:,} bytes are needed there, and {free:,} are free",
                           "make room, or name another disk")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        close_now(handle)
