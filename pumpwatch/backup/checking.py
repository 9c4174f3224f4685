"""Check a backup: every object exists and unpacks to the file that was backed up, and SQLite files are intact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pumpwatch.backup.manifest import BackedUpFile, Manifest
from pumpwatch.backup.objects import ENCRYPTED, unpack
from pumpwatch.backup.shelf import Shelf
from pumpwatch.backup.writing import broken_page, figures
from pumpwatch.errors import StorageError
from pumpwatch.store.reader import SUFFIX
from pumpwatch.store.sqlite import make_private, private_folder, storage_errors


@dataclass(frozen=True, slots=True)
class BackupFault:
    """A file of a backup that differs from its manifest, and how it differs."""

    name: str
    problem: str


def check_backup(shelf: Shelf, manifest: Manifest, identities: Sequence[Any], sizes: Mapping[str, int],
                 checked: Callable[[BackedUpFile], None] = lambda row: None) -> Iterator[BackupFault]:
    """Yield the faults of a backup. Blocks: every object is read, decrypted and decompressed.

    Without identities, only the sizes of encrypted objects are compared. sizes: of the shelf's objects. Raises ConfigError if
    none of the identities opens it, ServiceUnavailable if S3 does not answer.
    """
    with TemporaryDirectory(prefix="pumpwatch-verify-") as scratch:
        for row in manifest.files:
            stored = sizes.get(row.object)
            if stored is None:
                yield BackupFault(row.name, f"{row.object} is missing")
            elif stored != row.stored_bytes:
                yield BackupFault(row.name, f"{row.object} has {stored:,} bytes, not {row.stored_bytes:,}")
            elif identities or not row.object.endswith(ENCRYPTED):
                path = Path(scratch) / "file"
                try:
                    fetch(shelf, row, path, identities)
                except StorageError as error:
                    yield BackupFault(row.name, error.message)
                else:
                    if problem := contradiction(row, path):
                        yield BackupFault(row.name, problem)
                path.unlink(missing_ok=True)
            checked(row)


def fetch(shelf: Shelf, row: BackedUpFile, path: Path, identities: Sequence[Any]) -> None:
    """Write a file of a backup to a path.

    Raises StorageError if it is not the file that was backed up, or the disk refuses.
    """
    with storage_errors(path, "writing"):
        private_folder(path.parent)
        make_private(path)
        with shelf.open(row.object) as source, path.open("wb") as target:
            sha256, size = unpack(source, target, row.object, identities)
    if (sha256, size) != (row.sha256, row.bytes):
        raise StorageError(f"{row.name}: {row.object} is damaged: its content is not what was backed up",
                           "take another backup: `pumpwatch backup list` shows them")


def contradiction(row: BackedUpFile, path: Path) -> str:
    """Return how a fetched SQLite file contradicts its row; empty if it does not, or is not a SQLite file."""
    if not row.name.endswith(SUFFIX):
        return ""
    if row.rows and (broken := broken_page(path)):
        return broken
    found = figures(path, row.name)
    wanted = {"rows": row.rows, "trades": row.trades} if row.rows else {}
    different = {key for key, value in wanted.items() if found.get(key, 0) != value}
    return f"its {' and '.join(sorted(different))} differ from the manifest" if different else ""
