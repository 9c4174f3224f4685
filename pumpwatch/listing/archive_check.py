"""Check an archive against its manifest: every file is there and unchanged, and there are no others."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pumpwatch.errors import UsageError
from pumpwatch.listing.manifest import FILE, FileRow, read_manifest

_WRITING = re.compile(rf"\.{re.escape(FILE)}\.\d+")  # a manifest that is being written


@dataclass(frozen=True, slots=True)
class Fault:
    """A file that differs from the manifest, and how."""

    file: str
    problem: str


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of a check. bytes: of the compared files. trades: by the manifest."""

    archive: Path
    files: int
    bytes: int
    trades: int
    faults: tuple[Fault, ...]


def check_archive(path: Path) -> Checked:
    """Compare every file of an archive with its manifest. Blocks. Raises UsageError for a missing folder."""
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder", "give an archive: a folder such as KITE_20261103T060000Z")
    manifest = read_manifest(path)
    if manifest is None:
        return Checked(path, 0, 0, 0, (Fault(FILE, "missing or unreadable"),))
    if not manifest.files:
        return Checked(path, 0, 0, manifest.trades, (Fault(FILE, "has no checksums: an older version wrote it"),))
    faults = [Fault(name, problem) for name, row in sorted(manifest.files.items()) if (problem := _problem(path, name, row))]
    there = {found.relative_to(path).as_posix() for found in path.rglob("*") if found.is_symlink() or not found.is_dir()}
    faults += [Fault(name, "not in the manifest") for name in sorted(there - {FILE, *manifest.files})
               if not _WRITING.fullmatch(name)]
    return Checked(path, len(manifest.files), sum(row.bytes for row in manifest.files.values()), manifest.trades, tuple(faults))


def _problem(archive: Path, name: str, row: FileRow) -> str:
    """Return how a file differs from its row; empty if it does not."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return "is outside the archive"
    path = archive / name
    if not path.resolve().is_relative_to(archive.resolve()) or path.is_symlink():
        return "is a link"
    if not path.is_file():
        return "missing"
    try:
        size = path.stat().st_size
        if size != row.bytes:
            return f"has {size:,} bytes, not {row.bytes:,}"
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return "" if digest == row.sha256 else "its SHA-256 differs"
