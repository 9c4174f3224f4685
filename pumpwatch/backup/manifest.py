"""The manifest of a backup: its files, their objects, checksums and counts."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import PurePosixPath

import msgspec

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError, UsageError
from pumpwatch.store.sqlite import FILE_MODE

FORMAT = 1
NAME = re.compile(r"backup-\d{8}T\d{6}Z\.json")
OBJECTS = "objects/"
OBJECT = re.compile(r"objects/[0-9a-f]{2}/[0-9a-f]{64}\.zst(\.age)?")
MOST_BYTES = 256 << 20  # of a manifest, enough for a million files
NOT_ONE = "give a folder or an s3:// address that `pumpwatch backup` writes to, or one of its manifests"


class BackedUpFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file of a backup. Times are ns since 1970."""

    name: str  # its path in the restored folder
    bytes: int
    sha256: str
    object: str
    stored_bytes: int  # of the object
    changed_ns: int = 0  # mtime of the source if the file itself was read; 0 for a copy by SQLite
    mode: int = FILE_MODE
    rows: dict[str, int] = {}  # of each table of a SQLite file or a dump of tables
    key: str = ""  # of a sink's part: an equal key means the same content
    trades: int = 0
    first_timestamp: int = 0
    last_timestamp: int = 0


class Manifest(msgspec.Struct, frozen=True):
    """A backup. problems: a line for each thing that could not be backed up."""

    name: str
    version: str
    made_at_ns: int
    took_s: float
    encrypted: bool
    files: list[BackedUpFile]
    problems: list[str] = []
    format: int = FORMAT

    @property
    def bytes(self) -> int:
        """Return the size of all restored files."""
        return sum(row.bytes for row in self.files)

    @property
    def trades(self) -> int:
        """Return the number of trades of the journal."""
        return sum(row.trades for row in self.files)

    @property
    def objects(self) -> dict[str, int]:
        """Return the size of each object that it needs."""
        return {row.object: row.stored_bytes for row in self.files}

    def span(self) -> tuple[int, int]:
        """Return the times of the first and the last trade; zeros without trades."""
        rows = [row for row in self.files if row.trades]
        return (min(row.first_timestamp for row in rows), max(row.last_timestamp for row in rows)) if rows else (0, 0)


class _Written(msgspec.Struct):
    sha256: str
    backup: msgspec.Raw


def name_of(made_at_ns: int) -> str:
    """Return the name of the manifest of a backup made at this time."""
    return f"backup-{datetime.fromtimestamp(made_at_ns // NS_PER_S, UTC):%Y%m%dT%H%M%SZ}.json"


def encode(manifest: Manifest) -> bytes:
    """Return the content of the manifest's file."""
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    return msgspec.json.encode(_Written(hashlib.sha256(content).hexdigest(), msgspec.Raw(content)))


def decode(content: bytes, where: str) -> Manifest:
    """Read a manifest.

    Raises StorageError if it is damaged or names places outside the folder, UsageError if a newer version wrote it.
    """
    damaged = StorageError(f"{where}: the manifest is damaged", "take another backup: `pumpwatch backup list` shows them")
    try:
        written = msgspec.json.decode(content, type=_Written)
        if hashlib.sha256(bytes(written.backup)).hexdigest() != written.sha256:
            raise damaged
        if (found := msgspec.json.decode(written.backup, type=_Format).format) > FORMAT:
            raise UsageError(f"{where}: a newer version wrote this backup (format {found}, known: {FORMAT})", "run that version")
        manifest = msgspec.json.decode(written.backup, type=Manifest)
    except ValueError as error:  # msgspec's errors are ValueErrors
        raise damaged from error
    for row in manifest.files:
        path = PurePosixPath(row.name)
        if path.is_absolute() or ".." in path.parts or "\0" in row.name or not path.parts or not OBJECT.fullmatch(row.object):
            raise StorageError(f"{where}: the manifest names {row.name!r}, a place outside the folder", NOT_ONE)
    return manifest


class _Format(msgspec.Struct):
    format: int = FORMAT
