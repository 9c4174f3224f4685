"""A backup holds all that is stored, again and again, and writes what is new."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pumpwatch.backup.checking import check_backup
from pumpwatch.backup.make import make, would_write
from pumpwatch.backup.manifest import Manifest
from pumpwatch.backup.places import manifests_of
from pumpwatch.backup.plan import BackupPlan
from pumpwatch.backup.restore import restore
from pumpwatch.backup.shelf import FolderShelf
from pumpwatch.backup.state import read_state
from pumpwatch.backup.writing import STILL_NS
from pumpwatch.clock import NS_PER_S, Clock, FakeClock
from pumpwatch.errors import StorageError
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from tests.ops.data_folder import GAP, damage, everything
from tests.small_disk import fill, small_disk
from tests.trades import batch_of, catalogue_of

DAY_NS = 86_400 * NS_PER_S


def newest(plan: BackupPlan) -> tuple[FolderShelf, Manifest]:
    shelf = FolderShelf(Path(plan.folder))
    return shelf, manifests_of(shelf, "")[0]


def age(folder: Path) -> None:
    """Make every file look as if it had not changed for long."""
    for path in folder.rglob("*"):
        os.utime(path, ns=(0, path.stat().st_mtime_ns - 2 * STILL_NS))


def test_a_backup_restored_is_the_same_to_the_trade_and_the_gap(plan: BackupPlan, stored: Path, tmp_path: Path) -> None:
    made = make(plan)
    shelf, manifest = newest(plan)
    assert (made.trades, made.problems, made.exit_code) == (10_000, [], 0)
    assert list(check_backup(shelf, manifest, [], shelf.sizes())) == []
    restore(shelf, manifest, tmp_path / "again", [])
    for column, other in zip(everything(stored).columns(), everything(tmp_path / "again").columns(), strict=True):
        assert np.array_equal(column, other)  # type: ignore[arg-type]
    journal = Journal(tmp_path / "again", catalogue_of(), FakeClock(), Stats())
    journal.open()
    assert [gap.reason for _, gap in journal.ledger.gaps()] == ["test"]
    journal.close()


def test_a_backup_beside_a_running_collector_holds_what_was_committed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "data", catalogue_of(), FakeClock(), Stats())
    journal.open()
    journal.commit(batch_of(1000))
    plan = BackupPlan(data=str(tmp_path / "data"), archives=str(tmp_path / "data"), folder=str(tmp_path / "backups"))
    assert make(plan).trades == 1000
    journal.record(Records(gaps=[GAP]))
    journal.commit(batch_of(1000, first_id=1001))
    journal.close()
    shelf, manifest = newest(plan)
    restore(shelf, manifest, tmp_path / "again", [])
    assert len(everything(tmp_path / "again")) == 1000


def test_what_has_not_changed_is_neither_read_nor_written_again(plan: BackupPlan, stored: Path) -> None:
    age(stored)
    first = make(plan)
    closed = sorted((stored / "journal").glob("*.sqlite"))
    assert closed
    for path in closed:
        state = path.stat()
        path.write_bytes(b"not read: its size and time are those of the last backup".ljust(state.st_size))
        os.utime(path, ns=(0, state.st_mtime_ns))
    second = make(plan)
    assert (second.new_bytes, second.reused, second.trades) == (0, first.files, 10_000)
    shelf, manifest = newest(plan)
    assert list(check_backup(shelf, manifest, [], shelf.sizes())) == []


def test_a_file_that_changed_lately_is_read_again(plan: BackupPlan, stored: Path) -> None:
    make(plan)
    path = max((stored / "journal").glob("*.sqlite"))
    state = path.stat()
    damage(stored)
    os.utime(path, ns=(0, state.st_mtime_ns))
    assert make(plan).new_bytes > 0


def test_old_backups_go_and_the_newest_stays_with_all_that_it_needs(plan: BackupPlan, tmp_path: Path) -> None:
    start_ns = Clock().now_ns() // NS_PER_S * NS_PER_S
    for day in (0, 3, 20):
        made = make(plan, FakeClock(start_ns + day * DAY_NS))
    assert len(made.removed) == 2 and FolderShelf(Path(plan.folder)).manifests() == [made.name]
    shelf, manifest = newest(plan)
    assert shelf.sizes() == manifest.objects
    make(msgspec.structs.replace(plan, keep_days=1), FakeClock(start_ns + 90 * DAY_NS))
    shelf, manifest = newest(plan)
    assert list(check_backup(shelf, manifest, [], shelf.sizes())) == []


def test_archives_reports_and_a_config_that_only_its_owner_may_read(plan: BackupPlan, stored: Path, tmp_path: Path) -> None:
    for name in ("KITE_20261103T060000Z/manifest.json", "KITE_20261103T060000Z/raw/binance.json", "reports/2026-11-02.json",
                 ".KITE_half/manifest.json"):
        (stored / name).parent.mkdir(parents=True, exist_ok=True)
        (stored / name).write_text(name)
    config = tmp_path / "pumpwatch.yaml"
    config.write_text("secret")
    config.chmod(0o600)
    make(msgspec.structs.replace(plan, config_files=[str(config)]))
    shelf, manifest = newest(plan)
    restore(shelf, manifest, tmp_path / "again", [])
    names = {path.relative_to(tmp_path / "again").as_posix() for path in (tmp_path / "again").rglob("*") if path.is_file()}
    assert {"KITE_20261103T060000Z/raw/binance.json", "reports/2026-11-02.json", "config/pumpwatch.yaml"} <= names
    assert not any("half" in name for name in names)
    assert (tmp_path / "again/config/pumpwatch.yaml").stat().st_mode & 0o777 == 0o600
    kept = next(row.object for row in manifest.files if row.name == "config/pumpwatch.yaml")
    assert (shelf.folder / kept).stat().st_mode & 0o777 == 0o600


def test_a_damaged_ledger_is_told_and_the_trades_are_backed_up_all_the_same(plan: BackupPlan, stored: Path) -> None:
    path = stored / "ledger.sqlite"
    content = bytearray(path.read_bytes())
    content[4096 * 3:4096 * 3 + 3000] = bytes(3000)
    path.write_bytes(content)
    made = make(plan)
    assert made.trades == 10_000 and made.exit_code == 1 and "ledger.sqlite" in made.problems[0]
    assert "ledger.sqlite" in read_state(stored).last_error and read_state(stored).last_ok_ns == 0


@pytest.mark.parametrize("content", [b"no database at all" * 500, b""])
def test_a_ledger_that_is_none_is_named_and_the_earlier_backups_stay(plan: BackupPlan, stored: Path, content: bytes) -> None:
    first = make(plan)
    (stored / "ledger.sqlite").write_bytes(content)
    with pytest.raises(StorageError, match=r"the ledger is (damaged|missing or empty)"):
        make(plan)
    assert FolderShelf(Path(plan.folder)).manifests() == [first.name]
    assert not list(stored.glob("*damaged-*"))


def test_a_ledger_of_minutes_that_is_damaged_is_left_out_and_named(plan: BackupPlan, stored: Path) -> None:
    (stored / "coverage.sqlite").write_bytes(b"no database at all" * 500)
    made = make(plan)
    assert made.trades == 10_000 and made.exit_code == 1 and made.problems == ["coverage.sqlite: file is not a database"]


def test_a_disk_that_fills_leaves_no_half_backup_and_the_earlier_ones(plan: BackupPlan, stored: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8) as impossible:
        if impossible:
            pytest.skip(impossible)
        there = msgspec.structs.replace(plan, folder=str(tmp_path / "disk" / "backups"))
        first = make(there)
        journal = Journal(stored, catalogue_of(), FakeClock(), Stats())
        journal.open()
        journal.commit(batch_of(50_000, first_id=50_000))
        journal.close()
        ballast = fill(tmp_path / "disk")
        with pytest.raises(StorageError, match=r"disk/backups.*(No space left|full).*make room"):
            make(there)
        assert "make room" in read_state(stored).last_error
        ballast.unlink()
        shelf, manifest = newest(there)
        assert shelf.manifests() == [first.name] and list(check_backup(shelf, manifest, [], shelf.sizes())) == []
        assert make(there).trades == 60_000


def test_two_backups_at_once_are_one_too_many(plan: BackupPlan) -> None:
    with FolderShelf(Path(plan.folder)).locked(), pytest.raises(StorageError, match="another backup is being made"):
        make(plan)


def test_a_folder_without_data_is_named(plan: BackupPlan, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nothing is stored"):
        make(msgspec.structs.replace(plan, data=str(tmp_path)))


def test_a_dry_run_names_every_file_and_writes_nothing(plan: BackupPlan, stored: Path) -> None:
    age(stored)
    rows = list(would_write(plan))
    assert not Path(plan.folder).exists() and not any(row["unchanged"] for row in rows)
    make(plan)
    again = list(would_write(plan))
    assert [row["name"] for row in again] == [row["name"] for row in rows]
    assert {row["unchanged"] for row in again if row["name"].startswith("journal/")} == {True}
    assert json.loads((stored / "backup.json").read_text())["last_error"] == ""
