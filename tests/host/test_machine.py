"""A machine finds its files, accounts and service manager below its root, and nothing outside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.host.machine import StepFailed, TargetMachine, is_root, run_program
from tests.host.tree import Programs, machine


def test_a_path_of_the_machine_is_below_its_root(tmp_path: Path) -> None:
    assert TargetMachine(tmp_path).inside("/etc/x") == tmp_path / "etc" / "x"
    assert TargetMachine().inside("/etc/x") == Path("/etc/x")


def test_a_link_that_leads_out_of_the_root_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "opt").parent.mkdir()
    (root / "opt").symlink_to(tmp_path)
    with pytest.raises(StepFailed, match="leads out of"):
        TargetMachine(root).inside("/opt/pumpwatch")


def test_accounts_and_groups_are_those_of_the_root(tmp_path: Path) -> None:
    there = machine(tmp_path)
    (there.root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nbroken\npumpwatch:x:123:45::/:/bin/false\n")
    assert there.number_of("passwd", "pumpwatch") == 123
    assert there.number_of("group", "pumpwatch") is None
    assert TargetMachine(tmp_path).number_of("passwd", "root") is None  # it has no accounts at all
    assert TargetMachine().number_of("passwd", "root") == 0


def test_systemctl_is_told_the_root(tmp_path: Path) -> None:
    assert TargetMachine().systemctl("enable", "x") == ("systemctl", "enable", "x")
    assert TargetMachine(tmp_path).systemctl("enable", "x") == ("systemctl", f"--root={tmp_path}", "enable", "x")


def test_a_program_that_fails_is_named_with_its_last_lines() -> None:
    with pytest.raises(StepFailed) as caught:
        TargetMachine().run_or_fail(("sh", "-c", "for n in 1 2 3 4 5 6 7; do echo line $n >&2; done; exit 3"))
    assert "failed with exit code 3" in caught.value.message
    assert caught.value.hint == "line 3; line 4; line 5; line 6; line 7"


def test_a_program_that_is_not_there_is_a_failed_step(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="nowhere"):
        TargetMachine().run_or_fail((str(tmp_path / "nowhere"),))
    assert not TargetMachine().succeeds((str(tmp_path / "nowhere"),))
    assert TargetMachine().last_lines((str(tmp_path / "nowhere"),)) == ""
    assert TargetMachine().last_lines(("echo", "why")) == "why"
    assert run_program(("sh", "-c", "cat; echo no input")) == (0, "no input\n")


def test_a_tree_of_files_never_runs_a_service(tmp_path: Path) -> None:
    there = machine(tmp_path, **{"is-active": (0, "")})
    assert not there.is_running and not there.serves()
    assert isinstance(there.run, Programs) and there.run.asked == []


def test_a_system_without_systemd_is_told_the_way_by_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceUnavailable) as caught:
        TargetMachine().check(starts=True)
    assert "does not have systemd" in caught.value.message and "collect -c FILE" in caught.value.hint


def test_a_system_whose_systemd_does_not_run_can_only_be_prepared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "systemctl").write_text("#!/bin/sh\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    TargetMachine().check(starts=False)
    if TargetMachine().is_running:
        TargetMachine().check(starts=True)
    else:
        with pytest.raises(ServiceUnavailable, match="does not run on this system"):
            TargetMachine().check(starts=True)
    with pytest.raises(StepFailed, match="is not a folder"):
        TargetMachine(tmp_path / "nowhere").check(starts=False)


def test_root_is_known_by_its_number() -> None:
    assert is_root() == (run_program(("id", "-u"))[1].strip() == "0")
