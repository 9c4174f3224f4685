"""The command that shows and does what retention removes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from pumpwatch.ops.retention_request import take_requests
from tests.ops.command_line import CommandLine
from tests.ops.data_folder import store
from tests.small_disk import fill, small_disk


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config whose data folder holds a segment."""
    file = tmp_path / "pumpwatch.yaml"
    file.write_text("exchanges: {okx: }\nstore: {dir: data}\n")
    store(tmp_path / "data")
    return file


def test_a_dry_run_says_what_would_go_and_removes_nothing(command: CommandLine, config: Path) -> None:
    before = sorted((config.parent / "data" / "journal").iterdir())
    done = command("retention", "--dry-run", "--level", "full", "-c", config)
    assert done.returncode == 0 and "0 files and days" in done.stderr and "journal full; nothing was removed" in done.stderr
    assert sorted((config.parent / "data" / "journal").iterdir()) == before
    assert command("retention", "--dry-run", "--json", "-c", config).stdout == ""
    assert command("retention", "--level", "full", "-c", config).returncode == 2


def test_a_running_collector_is_asked_and_without_one_the_journal_stays(command: CommandLine, config: Path) -> None:
    data = config.parent / "data"
    done = command("retention", "-c", config)
    assert done.returncode == 0 and "its journal is unchanged" in done.stderr and not take_requests(data)
    (data / "status.json").write_text(json.dumps(
        {"pid": os.getpid(), "written_at_ns": time.time_ns(), "written_monotonic_s": time.monotonic()}))
    done = command("retention", "-c", config)
    assert done.returncode == 0 and "requested" in done.stderr and take_requests(data)


def test_exports_and_backups_are_refused_on_a_full_disk(command: CommandLine, config: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 2) as problem:
        if problem:
            pytest.skip(f"no right to mount a small file system here: {problem}")
        fill(tmp_path / "small")
        for words in (("backup", "--to", tmp_path / "small" / "backups"),
                      ("trades", "C0", "--parquet", tmp_path / "small" / "x.parquet")):
            done = command(*words, "-c", config)
            assert done.returncode == 74 and "100% full, more than disk.full_percent (95)" in done.stderr
