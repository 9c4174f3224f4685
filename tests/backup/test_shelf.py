"""A folder of backups: what counts as one, and what pruning may remove."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.backup.manifest import BackedUpFile, Manifest, encode, name_of
from pumpwatch.backup.shelf import PARTIAL, FolderShelf, copy_room, prune
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError

DAY_NS = 86_400 * NS_PER_S
NOW_NS = 1_795_827_669 * NS_PER_S


def put(shelf: FolderShelf, day: int, *letters: str) -> str:
    """Write a backup of files whose objects are named by these letters, so many days before now."""
    rows = [BackedUpFile(f"{letter}.txt", 1, letter * 64, f"objects/{letter * 2}/{letter * 64}.zst", 3) for letter in letters]
    for row in rows:
        path = shelf.folder / row.object
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"abc")
    made_at_ns = NOW_NS - day * DAY_NS
    shelf.write(name_of(made_at_ns), encode(Manifest(name_of(made_at_ns), "1", made_at_ns, 0.0, False, rows)))
    return name_of(made_at_ns)


def test_what_a_newer_backup_needs_stays(tmp_path: Path) -> None:
    shelf = FolderShelf(tmp_path)
    old, young = put(shelf, 9, "a", "b"), put(shelf, 1, "b", "c")
    assert prune(shelf, 7, NOW_NS) == [old]
    assert shelf.manifests() == [young]
    assert sorted(name[-5] for name in shelf.sizes()) == ["b", "c"]


def test_the_newest_stays_whatever_its_age(tmp_path: Path) -> None:
    shelf = FolderShelf(tmp_path)
    only = put(shelf, 400, "a")
    assert prune(shelf, 7, NOW_NS) == [] and shelf.manifests() == [only] and len(shelf.sizes()) == 1


def test_with_a_manifest_that_cannot_be_read_no_object_is_removed(tmp_path: Path) -> None:
    shelf = FolderShelf(tmp_path)
    put(shelf, 9, "a")
    damaged = put(shelf, 3, "b")
    put(shelf, 1, "c")
    (tmp_path / damaged).write_text("{}")
    assert len(prune(shelf, 7, NOW_NS)) == 1 and len(shelf.sizes()) == 3 and damaged in shelf.manifests()


def test_what_a_killed_backup_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / PARTIAL).mkdir()
    (tmp_path / PARTIAL / "object").write_bytes(b"half")
    with FolderShelf(tmp_path).locked() as partial:
        assert list(partial.iterdir()) == []
    assert not (tmp_path / PARTIAL).exists()


def test_other_files_are_no_backups(tmp_path: Path) -> None:
    for name in ("backup.json", "backup-20261128T000000Z.json.partial", "notes.txt"):
        (tmp_path / name).write_text("x")
    assert FolderShelf(tmp_path).manifests() == [] and FolderShelf(tmp_path / "nowhere").manifests() == []
    with pytest.raises(StorageError, match="is missing"):
        FolderShelf(tmp_path).read("backup-20261128T000000Z.json")


def test_room_that_is_not_there_is_told(tmp_path: Path) -> None:
    copy_room(tmp_path, 1)
    with pytest.raises(StorageError, match="bytes are needed"):
        copy_room(tmp_path, 1 << 60)
