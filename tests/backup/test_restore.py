"""A restore is all or nothing, whatever is in its way, and never touches what a collector uses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pumpwatch.backup.make import make
from pumpwatch.backup.manifest import Manifest
from pumpwatch.backup.places import manifests_of
from pumpwatch.backup.plan import BackupPlan
from pumpwatch.backup.restore import free_name, restore
from pumpwatch.backup.shelf import FolderShelf
from pumpwatch.errors import EXIT_DISK, StorageError, UsageError
from pumpwatch.store.folder_lock import lock_folder
from tests.ops.data_folder import everything
from tests.small_disk import small_disk


@pytest.fixture
def backed_up(plan: BackupPlan) -> tuple[FolderShelf, Manifest]:
    make(plan)
    shelf = FolderShelf(Path(plan.folder))
    return shelf, manifests_of(shelf, "")[0]


BackedUp = tuple[FolderShelf, Manifest]


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_holds_data_is_left_alone(backed_up: BackedUp, stored: Path) -> None:
    before = {name for name in content(stored) if name != "lock"}
    with pytest.raises(UsageError, match=r"already holds backup.json and \d more; .*--beside"):
        restore(*backed_up, stored, [])
    assert {name for name in content(stored) if name != "lock"} == before


def test_a_folder_into_which_a_collector_records_is_left_alone(backed_up: BackedUp, tmp_path: Path) -> None:
    (tmp_path / "busy").mkdir()
    lock = lock_folder(tmp_path / "busy")
    try:
        with pytest.raises(StorageError, match=rf"pid {os.getpid()}\) collects into this folder") as caught:
            restore(*backed_up, tmp_path / "busy", [])
    finally:
        os.close(lock)
    assert caught.value.exit_code == EXIT_DISK and list(content(tmp_path / "busy")) == ["lock"]


def test_a_folder_that_a_collector_left_empty_takes_a_backup_and_keeps_its_inbox(backed_up: BackedUp, tmp_path: Path) -> None:
    (tmp_path / "left" / "inbox").mkdir(parents=True)
    (tmp_path / "left" / "inbox" / "notice.json").write_text("{}")
    (tmp_path / "left" / "lock").write_text("123\n")
    restore(*backed_up, tmp_path / "left", [])
    assert len(everything(tmp_path / "left")) == 10_000
    assert (tmp_path / "left" / "inbox" / "notice.json").exists()


def test_a_folder_that_somebody_writes_to_meanwhile_keeps_its_inbox_and_what_was_written(
        backed_up: BackedUp, tmp_path: Path) -> None:
    folder = tmp_path / "left"
    (folder / "inbox").mkdir(parents=True)
    (folder / "inbox" / "notice.json").write_text("{}")
    with pytest.raises(StorageError, match="the folder is as it was"):
        restore(*backed_up, folder, [], lambda row: (folder / "theirs").touch())
    assert set(content(folder)) - {"lock"} == {"inbox/notice.json", "theirs"}


def test_beside_is_a_new_name_next_to_the_folder(stored: Path, backed_up: BackedUp) -> None:
    name = free_name(stored)
    assert name.parent == stored.parent and name.name.startswith("data.restored-") and not name.exists()
    restore(*backed_up, name, [])
    assert len(everything(name)) == 10_000


@pytest.mark.parametrize("harm", ["flipped", "truncated", "missing", "empty"])
def test_a_damaged_object_restores_nothing(backed_up: BackedUp, tmp_path: Path, harm: str) -> None:
    shelf, manifest = backed_up
    path = shelf.folder / max(manifest.files, key=lambda row: row.stored_bytes).object
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes({"flipped": bytes(whole), "truncated": bytes(whole[:-50]), "empty": b""}[harm])
    with pytest.raises(StorageError, match=r"damaged|missing"):
        restore(shelf, manifest, tmp_path / "again", [])
    assert [path for path in tmp_path.iterdir() if "again" in path.name] == []


def test_a_disk_without_room_is_told_before_anything_is_written(backed_up: BackedUp, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as impossible:
        if impossible:
            pytest.skip(impossible)
        (tmp_path / "disk" / "ballast").write_bytes(bytes(900_000))
        with pytest.raises(StorageError, match="bytes are needed"):
            restore(*backed_up, tmp_path / "disk" / "again", [])
        assert [path.name for path in (tmp_path / "disk").iterdir()] == ["ballast"]


def test_a_folder_that_is_a_disk_of_its_own_is_as_it_was(backed_up: BackedUp, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8) as impossible:
        if impossible:
            pytest.skip(impossible)
        with pytest.raises(StorageError, match=r"a mount point.*--to"):
            restore(*backed_up, tmp_path / "disk", [])


KILLED = """
import os, sys, time
from pathlib import Path
from pumpwatch.backup.places import manifests_of
from pumpwatch.backup.restore import restore
from pumpwatch.backup.shelf import FolderShelf
shelf = FolderShelf(Path(sys.argv[1]))
def wait(row):
    print(row.name, flush=True)
    time.sleep(60)
restore(shelf, manifests_of(shelf, "")[0], Path(sys.argv[2]), [], wait)
"""


def test_a_killed_restore_leaves_what_the_next_one_cleans_up(backed_up: BackedUp, tmp_path: Path) -> None:
    shelf, manifest = backed_up
    again = tmp_path / "again"
    with subprocess.Popen([sys.executable, "-c", KILLED, shelf.folder, again], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline()
        with pytest.raises(StorageError, match="another restore is writing"):
            restore(shelf, manifest, again, [])
        child.send_signal(signal.SIGKILL)
    assert not again.exists() and (tmp_path / ".again.restoring").is_dir()
    restore(shelf, manifest, again, [])
    assert len(everything(again)) == 10_000
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".again")] == []


def test_a_backup_of_another_place_and_time_still_restores_alone(plan: BackupPlan, tmp_path: Path) -> None:
    make(plan)
    make(plan)
    shelf = FolderShelf(Path(plan.folder))
    first, second = manifests_of(shelf, "", every=True)
    shelf.remove([first.name])
    moved = Path(plan.folder).rename(tmp_path / "elsewhere")
    restore(FolderShelf(moved), second, tmp_path / "again", [])
    assert len(everything(tmp_path / "again")) == 10_000
