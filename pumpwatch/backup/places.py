"""Find a backup by the words that a person gives: a folder, a manifest in one, or the same in S3."""

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
    """Return the shelf that a folder, an s3:// address or a manifest's path means, and the manifest's name or "".

    Empty words mean the configured folder. Raises UsageError for a path that is neither.
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
    """Return the backup of this name, or the newest one, or each of them.

    Raises UsageError without a backup, StorageError where a manifest is damaged.
    """
    names = [name] if name else shelf.manifests() if every else shelf.manifests()[-1:]
    if not names:
        raise UsageError(f"{shelf.where} holds no backup", NOT_ONE)
    return [decode(shelf.read(one), f"{shelf.where.rstrip('/')}/{one}") for one in names]
