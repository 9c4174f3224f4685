"""The machine is checked, and each finding says how to mend it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pumpwatch.findings import FAIL, OK, WARN
from pumpwatch.ops import machine


@pytest.mark.parametrize(("allowed", "used", "state"), [
    (65_536, None, OK), (1024, 100, OK), (1023, None, WARN), (1024, 800, FAIL)])
def test_too_few_descriptors_are_named_with_the_command(allowed: int, used: int | None, state: str) -> None:
    found = machine.descriptors(allowed, used)
    assert found.state == state and ("ulimit -n" in found.hint) == (state != OK) and f"{allowed:,}" in found.detail


def test_the_descriptors_of_a_running_process_are_counted() -> None:
    found = machine.descriptors_of(os.getpid())
    assert found is not None and "may be open, " in found.detail
    assert machine.descriptors_of(0) is None


@pytest.mark.parametrize(("rmem", "state"), [
    ("4096\t131072\t6291456\n", OK), ("4096 16384 212992", WARN), ("what", OK), (None, OK)])
def test_small_receive_buffers_are_named_with_the_command(tmp_path: Path, rmem: str | None, state: str) -> None:
    file = tmp_path / "tcp_rmem"
    if rmem is not None:
        file.write_text(rmem)
    found = machine.receive_buffers(file)
    assert found.state == state
    assert found.hint.startswith("`sysctl -w net.ipv4.tcp_rmem='4096 131072 6291456'`") == (state == WARN)


def test_the_kernel_says_whether_its_clock_is_synchronised() -> None:
    found = machine.kernel_clock()
    assert found is None or (isinstance(found[0], bool) and 0 <= found[1] <= 16_000_000)


def test_python_and_every_library_are_of_a_version_that_is_meant() -> None:
    found = {finding.name: finding for finding in machine.versions()}
    assert found["Python"].state == OK and found["libraries"].state == OK
    assert "gevent " in found["libraries"].detail and "pytest" not in found["libraries"].detail, "without the extras"


@pytest.mark.parametrize(("version", "ranges", "fits"), [
    ("26.9.0", "<27,>=24.10", True), ("27.0", "<27,>=24.10", False), ("24.9", ">=24.10", False), ("2.2.3", "==2.2.3", True),
    ("2.2.4", "==2.2.3", False), ("9.6.0rc1", "<10", True), ("1", "", True)])
def test_a_version_is_compared_by_its_numbers(version: str, ranges: str, fits: bool) -> None:
    assert machine.within(version, ranges) is fits


def test_every_finding_that_is_not_fine_has_a_hint(tmp_path: Path) -> None:
    found = list(machine.machine_findings(tmp_path / "missing"))
    assert {"descriptors", "socket buffers", "Python"} <= {finding.name for finding in found}
    assert all(finding.hint for finding in found if finding.state != OK)


def test_an_open_file_counts() -> None:
    before = machine.open_files()
    with Path(os.devnull).open("rb"):
        assert machine.open_files()["open"] == before["open"] + 1
    assert before["limit"] > before["open"]
