"""The plain files of a backup: archives of listings, daily reports, and the config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pumpwatch.listing.manifest import FILE as ARCHIVE_MANIFEST

REPORTS, CONFIG = "reports", "config"


@dataclass(frozen=True, slots=True)
class Plain:
    """A file, and its name in the backup."""

    name: str
    path: Path


def archives(folder: Path) -> list[Path]:
    """Return the folder of every finished archive; unfinished ones are hidden."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and (path / ARCHIVE_MANIFEST).is_file())


def archive_files(archive: Path) -> tuple[bytes, list[Plain]]:
    """Return an archive's manifest and its files. Raises FileNotFoundError if it is replaced meanwhile."""
    manifest = (archive / ARCHIVE_MANIFEST).read_bytes()
    return manifest, [Plain(f"{archive.name}/{path.relative_to(archive).as_posix()}", path)
                      for path in sorted(archive.rglob("*")) if path.is_file() and not path.is_symlink()]


def is_same(archive: Path, manifest: bytes) -> bool:
    """Return whether an archive still has this manifest."""
    try:
        return (archive / ARCHIVE_MANIFEST).read_bytes() == manifest
    except FileNotFoundError:
        return False


def reports(data: Path) -> Iterator[Plain]:
    """Yield the daily reports."""
    for path in sorted((data / REPORTS).glob("*.json")):
        yield Plain(f"{REPORTS}/{path.name}", path)


def config_files(paths: list[str]) -> Iterator[Plain]:
    """Yield the config file and the symbols file, if they exist; of two files with the same name the first."""
    names: set[str] = set()
    for path in map(Path, paths):
        if path.is_file() and path.name not in names:
            names.add(path.name)
            yield Plain(f"{CONFIG}/{path.name}", path)
