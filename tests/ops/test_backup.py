"""Backups of a real journal, and what restores them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.errors import StorageError, UsageError
from pumpwatch.ops.backup import backup, restore
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from tests.ops.command_line import CommandLine
from tests.ops.data_folder import damage, everything
from tests.trades import batch_of, catalogue_of


def test_a_backup_restored_is_the_same_to_the_trade_and_the_gap(stored: Path, tmp_path: Path) -> None:
    rows = backup(stored, tmp_path / "b.tar")
    assert restore(tmp_path / "b.tar", tmp_path / "again") == rows
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
    backup(tmp_path / "data", tmp_path / "b.tar")
    journal.commit(batch_of(1000, first_id=1001))
    journal.close()
    restore(tmp_path / "b.tar", tmp_path / "again")
    assert len(everything(tmp_path / "again")) == 1000


def test_a_restore_leaves_a_folder_in_use_alone(stored: Path, tmp_path: Path) -> None:
    backup(stored, tmp_path / "b.tar")
    before = {path: path.read_bytes() for path in stored.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="already"):
        restore(tmp_path / "b.tar", stored)
    assert {path: path.read_bytes() for path in stored.rglob("*") if path.is_file()} == before


def test_a_backup_leaves_an_existing_file_alone(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_text("precious")
    with pytest.raises(UsageError, match="already"):
        backup(stored, tmp_path / "b.tar")
    assert (tmp_path / "b.tar").read_text() == "precious"


def test_a_damaged_backup_restores_nothing(stored: Path, tmp_path: Path) -> None:
    backup(stored, tmp_path / "b.tar")
    content = bytearray((tmp_path / "b.tar").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.raises(StorageError, match="damaged"):
        restore(tmp_path / "b.tar", tmp_path / "again")
    assert list((tmp_path / "again").iterdir()) == []


@pytest.mark.parametrize("name", ["../escaped.sqlite", "/tmp/escaped.sqlite", "journal/../../escaped.sqlite", "other"])
def test_a_tar_that_names_other_places_is_rejected(tmp_path: Path, name: str) -> None:
    manifest = json.dumps({"files": [{"name": name, "bytes": 1, "sha256": ""}]}).encode()
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        for member, content in (("manifest.json", manifest), (name, b"x")):
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(UsageError, match="not a backup"):
        restore(tmp_path / "b.tar", tmp_path / "again")


def test_a_file_that_is_not_a_tar_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_text("no tar at all" * 100)
    with pytest.raises(UsageError, match="not a backup"):
        restore(tmp_path / "b.tar", tmp_path / "again")


def test_the_commands_verify_back_up_and_restore(stored: Path, tmp_path: Path, command: CommandLine) -> None:
    there, again = {"PUMPWATCH_STORE__DIR": str(stored)}, {"PUMPWATCH_STORE__DIR": str(tmp_path / "again")}
    assert command("verify", env=there).returncode == 0
    assert command("backup", "b.tar", env=there).returncode == 0
    assert command("restore", "b.tar", env=again).returncode == 0
    assert command("restore", "b.tar", env=again).returncode == 2
    rows = [json.loads(line) for line in command("verify", "--json", env=again).stdout.splitlines()]
    assert sum(row["found"] for row in rows) == 10_000
    damage(tmp_path / "again")
    assert command("verify", env=again).returncode == 1
