"""backup, backup list, backup verify and restore, as a person and a script meet them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pumpwatch.store.folder_lock import lock_folder
from tests.commands.rendered import check_lines
from tests.commands.stored import stored
from tests.ops.command_line import CommandLine


def test_a_backup_is_made_listed_checked_and_restored(command: CommandLine, tmp_path: Path) -> None:
    config = stored(tmp_path / "a")
    there = {"PUMPWATCH_BACKUP__FOLDER": str(tmp_path / "backups")}
    dry = command("backup", "--dry-run", "-c", config, env=there)
    assert dry.returncode == 0 and "nothing was written" in dry.stderr and not (tmp_path / "backups").exists()
    check_lines(dry.stdout.splitlines(), 80)
    made = json.loads(command("backup", "--json", "-c", config, env=there).stdout)
    assert made["trades"] == 1000 and made["exit_code"] == 0
    listed = command("backup", "list", "-c", config, env=there)
    assert made["name"] in listed.stdout and listed.stderr.startswith("1 backup in")
    checked = command("backup", "verify", "-c", config, env=there)
    assert checked.returncode == 0 and "all match the manifest (sums, SQLite and counts)" in checked.stderr
    again = command("restore", tmp_path / "backups", "--to", tmp_path / "b")
    assert again.returncode == 0 and "1,000 trades restored into" in again.stderr
    assert command("verify", env={"PUMPWATCH_STORE__DIR": str(tmp_path / "b")}).stderr == "1,000 trades read\n"


def test_a_folder_in_use_is_left_alone_and_beside_it_is_room(command: CommandLine, tmp_path: Path) -> None:
    config = stored(tmp_path / "a")
    assert command("backup", "--to", tmp_path / "backups", "-c", config).returncode == 0
    data = next(path for path in (tmp_path / "a").rglob("ledger.sqlite")).parent
    environ = {"PUMPWATCH_STORE__DIR": str(data)}
    refused = command("restore", tmp_path / "backups", env=environ)
    assert refused.returncode == 2 and "--beside" in refused.stderr
    lock = lock_folder(data)
    try:
        busy = command("restore", tmp_path / "backups", env=environ)
        assert busy.returncode == 74 and "collects into this folder" in busy.stderr and "stop that one" in busy.stderr
        beside = command("restore", tmp_path / "backups", "--beside", "--json", env=environ)
    finally:
        os.close(lock)
    assert beside.returncode == 0
    folder = Path(json.loads(beside.stdout)["folder"])
    assert folder.parent == data.parent and (folder / "ledger.sqlite").is_file()


def test_a_damaged_backup_is_found_and_not_restored(command: CommandLine, tmp_path: Path) -> None:
    config = stored(tmp_path / "a")
    assert command("backup", "--to", tmp_path / "backups", "-c", config).returncode == 0
    largest = max((tmp_path / "backups" / "objects").rglob("*.zst"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    found = command("backup", "verify", tmp_path / "backups", "--json")
    assert found.returncode == 1 and json.loads(found.stdout)["problem"]
    refused = command("restore", tmp_path / "backups", "--to", tmp_path / "b")
    assert refused.returncode == 74 and "damaged" in refused.stderr and not (tmp_path / "b").exists()
    manifest = next((tmp_path / "backups").glob("backup-*.json"))
    manifest.write_bytes(manifest.read_bytes()[:-40])
    listed = command("backup", "list", tmp_path / "backups")
    assert listed.returncode == 1 and "the manifest is damaged" in listed.stdout


def test_a_place_without_backups_says_what_to_give(command: CommandLine, tmp_path: Path) -> None:
    done = command("restore", tmp_path / "nowhere")
    assert done.returncode == 2 and "no such folder" in done.stderr and "`pumpwatch backup`" in done.stderr
