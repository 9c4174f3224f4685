"""Find a backup by the place on the command line: a folder, a manifest in a folder, or the same in S3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pumpwatch.backup.manifest import NAME, NOT_ONE, Manifest, decode
from pumpwatch.backup.plan import backup_folder, s3_target
from pumpwatch.backup.s3 import S3Shelf
from pumpwatch.backup.shelf import FolderShelf, Shelf
from pumpwatch.config import Config
from pumpwatch.errors import UsageError


def place_of(config: Config, where: str, environ: Mapping[str, str] | None = None) -> tuple[Shelf, str]:
    """Return the shelf of a folder, an s3:// address or a manifest's path, and the manifest's name or "".

    An empty text means the configured folder. Raises UsageError for any other path.
    """
    if where.startswith("s3://"):
        rest, _, last = where.rpartition("/")
        name = last if NAME.fullmatch(last) else ""
        return S3Shelf(s3_target(config, rest if name else where, environ)), name
    path = Path(where).expanduser().absolute() if where else backup_folder(config)
    if path.is_dir():
        return FolderShelf(path), ""
    if path.is_file() and NAME.fullmatch(path.name):
        return FolderShelf(path.parent), path.name
    raise UsageError(f"{path}: {'not a backup of pumpwatch' if path.exists() else 'no such folder or manifest'}", NOT_ONE)


def manifests_of(shelf: Shelf, name: str, *, every: bool = False) -> list[Manifest]:
    """Return the backup of this name; without a name the newest backup, or every backup.

    Raises UsageError without a backup, StorageError if a manifest is damaged.
    """
    names = [name] if name else shelf.manifests() if every else shelf.manifests()[-1:]
    if not names:
        raise UsageError(f"{shelf.where} does not hold a backup", NOT_ONE)
    return [decode(shelf.read(manifest), f"{shelf.where.rstrip('/')}/{manifest}") for manifest in names]
