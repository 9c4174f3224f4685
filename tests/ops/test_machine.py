"""The facts of the process and its machine are those of the kernel."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pumpwatch.ops.machine import disk_figures, file_figures, memory_figures, memory_limit_bytes, resident_bytes

MEMORY = "MemTotal:       24684092 kB\nMemFree: 1 kB\n"


def test_memory_that_is_taken_counts() -> None:
    before = resident_bytes()
    taken = b"x" * 60_000_000
    assert resident_bytes() - before > 30_000_000
    assert len(taken) == 60_000_000
    figures = memory_figures(4 * resident_bytes())
    assert 0.2 < figures["used_ratio"] < 0.3 and figures["limit_bytes"] > figures["resident_bytes"]


@pytest.mark.parametrize(("limits", "expected"), [
    ({}, 24_684_092 * 1024), ({"a": "max", "a/b": "max"}, 24_684_092 * 1024), ({"a": "2000000000", "a/b": "max"}, 2_000_000_000),
    ({"a": "2000000000", "a/b": "1000000000"}, 1_000_000_000)])
def test_the_limit_of_memory_is_the_lowest_of_its_groups_or_the_machine(
        tmp_path: Path, limits: dict[str, str], expected: int) -> None:
    groups, process = tmp_path / "groups", tmp_path / "process"
    process.mkdir()
    for name, limit in limits.items():
        (groups / name).mkdir(parents=True, exist_ok=True)
        (groups / name / "memory.max").write_text(f"{limit}\n")
    (process / "cgroup").write_text("1:cpu:/else\n0::/a/b\n")
    (tmp_path / "meminfo").write_text(MEMORY)
    assert memory_limit_bytes(process, groups, tmp_path / "meminfo") == expected


def test_a_machine_without_control_groups_limits_to_its_memory(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMORY)
    assert memory_limit_bytes(tmp_path, tmp_path, tmp_path / "meminfo") == 24_684_092 * 1024


def test_an_open_file_counts() -> None:
    before = file_figures()
    with Path(os.devnull).open("rb"):
        assert file_figures()["open"] == before["open"] + 1
    assert before["limit"] > before["open"]


def test_a_disk_is_counted_as_df_does(tmp_path: Path) -> None:
    figures, usage = disk_figures(tmp_path), shutil.disk_usage(tmp_path)
    assert figures["size_bytes"] == usage.total
    assert abs(figures["free_bytes"] - usage.free) < usage.total / 10
    assert 0.0 <= figures["used_ratio"] <= 1.0
    with pytest.raises(OSError):
        disk_figures(tmp_path / "gone")
