"""The steps of an installation bring a system, here a folder, to a service that systemd accepts; removing it keeps the data."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pumpwatch.errors import UsageError
from pumpwatch.host.machine import StepFailed, TargetMachine
from pumpwatch.host.plan import (
    CONFIG,
    LAUNCHER,
    PROGRAM,
    SAMPLE,
    UNIT_FILE,
    Wish,
    installation,
    installed_user,
    kept,
    launcher_text,
    purge,
    removal,
    text_of,
    unit_text,
)
from pumpwatch.host.procedure import carry_out
from tests.host.tree import Programs, files_below, machine, needs_systemd, system, wish

MOST_EXPOSED = 2.5


def quiet(line: str) -> None:
    """Say nothing."""


@needs_systemd
def test_a_system_gets_user_folders_config_program_and_unit(tmp_path: Path) -> None:
    there = machine(tmp_path)
    carry_out(installation(there, wish(tmp_path)), quiet)
    user, group = there.number_of("passwd", "pumpwatch"), there.number_of("group", "pumpwatch")
    assert user and group
    found = {path: state[:3] for path, state in files_below(there.root).items()}
    assert {path: found[path.lstrip("/")] for path in (CONFIG, SAMPLE, PROGRAM, LAUNCHER, UNIT_FILE)} == {
        CONFIG: (0, group, 0o640), SAMPLE: (0, group, 0o640), PROGRAM: (0, 0, 0o755), LAUNCHER: (0, 0, 0o755),
        UNIT_FILE: (0, 0, 0o644)}
    assert found["etc/pumpwatch"] == (0, group, 0o750)
    assert {found[f"var/{name}/pumpwatch"] for name in ("lib", "cache", "log")} == {(user, group, 0o750)}
    assert (there.root / "etc/systemd/system/multi-user.target.wants/pumpwatch.service").is_symlink()
    assert "nologin" in (there.root / "etc/passwd").read_text()


@needs_systemd
def test_a_second_run_has_nothing_to_do_and_an_upgrade_changes_the_program_alone(tmp_path: Path) -> None:
    there = machine(tmp_path)
    carry_out(installation(there, wish(tmp_path)), quiet)
    (there.root / CONFIG.lstrip("/")).write_text("# mine\n")
    before = files_below(there.root)
    assert carry_out(installation(there, wish(tmp_path)), quiet) == 0
    said: list[str] = []
    carry_out(installation(there, wish(tmp_path, "2")), said.append)
    after = files_below(there.root)
    assert len(said) == 1 and said[0].endswith(PROGRAM)
    assert {path for path in before | after if before.get(path) != after.get(path)} == {PROGRAM.lstrip("/")}
    assert (there.root / CONFIG.lstrip("/")).read_text() == "# mine\n"


@needs_systemd
def test_a_failure_in_the_middle_leaves_the_system_as_it_was(tmp_path: Path) -> None:
    there = machine(tmp_path, enable=(1, "no\n"))
    before = files_below(there.root)
    with pytest.raises(StepFailed, match="enable"):
        carry_out(installation(there, wish(tmp_path)), quiet)
    after = files_below(there.root)
    assert {path for path in before | after if before.get(path) != after.get(path)} == set()


@needs_systemd
def test_a_failed_upgrade_puts_the_old_program_back(tmp_path: Path) -> None:
    there = machine(tmp_path)
    carry_out(installation(there, wish(tmp_path)), quiet)
    before = files_below(there.root)
    (there.root / "etc/systemd/system/multi-user.target.wants/pumpwatch.service").unlink()
    failing = TargetMachine(there.root, Programs(enable=(1, "")))
    with pytest.raises(StepFailed):
        carry_out(installation(failing, wish(tmp_path, "2")), quiet)
    after = files_below(there.root)
    assert {path for path in before if before[path] != after.get(path)} == {
        "etc/systemd/system/multi-user.target.wants/pumpwatch.service"}
    assert after.keys() <= before.keys()


@needs_systemd
def test_what_is_removed_leaves_config_data_and_user_and_a_purge_leaves_nothing(tmp_path: Path) -> None:
    there = machine(tmp_path)
    bare = set(files_below(there.root))
    carry_out(installation(there, wish(tmp_path)), quiet)
    data = there.root / "var/lib/pumpwatch/data"
    data.mkdir()
    (data / "trades").touch()
    carry_out(removal(there), quiet)
    assert (data / "trades").exists() and (there.root / CONFIG.lstrip("/")).exists()
    assert there.number_of("passwd", "pumpwatch")
    assert kept(there) == ["/etc/pumpwatch", "/var/lib/pumpwatch"]
    left = set(files_below(there.root)) - bare
    assert not [path for path in left if "pyz" in path or path.endswith(("bin/pumpwatch", ".service"))]
    carry_out(purge(there, "pumpwatch"), quiet)
    assert there.number_of("passwd", "pumpwatch") is None
    assert not [path for path in files_below(there.root) if "pumpwatch" in path]


@needs_systemd
def test_systemd_accepts_the_installed_unit_and_finds_it_hardened(tmp_path: Path) -> None:
    there = machine(tmp_path)
    carry_out(installation(there, wish(tmp_path)), quiet)
    command = ["systemd-analyze", "verify", f"--root={there.root}", "--man=no", "--recursive-errors=no"]
    done = subprocess.run([*command, "pumpwatch.service"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=true", f"--root={there.root}", "--no-pager"]
    fits = [*command, f"--threshold={MOST_EXPOSED * 10:.0f}", "pumpwatch.service"]
    done = subprocess.run(fits, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    table = subprocess.run([*command, "--json=short", "pumpwatch.service"], capture_output=True, text=True, check=True)
    exposed = {row["json_field"] for row in json.loads(table.stdout) if not row["set"]}
    assert not {name for name in exposed if name.startswith(("Protect", "CapabilityBoundingSet", "RestrictNamespaces"))}


def running(tmp_path: Path, **answers: tuple[int, str]) -> TargetMachine:
    """Return a machine that believes that it runs, at the root, and whose programs all are scripted."""

    class Running(TargetMachine):
        is_running = True

        def inside(self, path: str) -> Path:
            return tmp_path / "root" / path.lstrip("/")

    every = {"getent": (2, ""), "useradd": (0, ""), "is-enabled": (0, ""), "daemon-reload": (0, "")}
    return Running(Path("/"), Programs(**every | answers))


def commands(machine: TargetMachine, tmp_path: Path, text: str = "1") -> list[str]:
    return [step.describe() for step in installation(machine, wish(tmp_path, text)) if step.needed()]


def test_a_service_that_runs_is_reloaded_only_where_something_has_changed(tmp_path: Path) -> None:
    system(tmp_path)
    here = running(tmp_path, **{"is-active": (0, "")})
    assert "systemctl reload pumpwatch.service" in commands(here, tmp_path)
    for path, text in ((PROGRAM, wish(tmp_path).program.read_text()), (LAUNCHER, launcher_text("/usr/bin/python3")),
                       (UNIT_FILE, unit_text("pumpwatch"))):
        file = here.inside(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o644 if path == UNIT_FILE else 0o755)
    if file.stat().st_uid == 0:  # as another user, owners differ
        assert not [line for line in commands(here, tmp_path) if "systemctl" in line]
        assert "systemctl reload pumpwatch.service" in commands(here, tmp_path, "2")


def test_a_service_that_does_not_run_is_started_unless_told_otherwise(tmp_path: Path) -> None:
    system(tmp_path)
    here = running(tmp_path, **{"is-active": (3, "")})
    assert "systemctl start pumpwatch.service" in commands(here, tmp_path)
    steps = installation(here, wish(tmp_path, start=False))
    assert not [step for step in steps if "systemctl start" in step.describe()]


def test_the_unit_is_of_the_user_that_was_chosen(tmp_path: Path) -> None:
    assert "\nUser=trades\nGroup=trades\n" in unit_text("trades")
    assert unit_text("pumpwatch") == text_of("pumpwatch.service")
    there = TargetMachine(system(tmp_path))
    assert installed_user(there) == "pumpwatch"
    unit = there.inside(UNIT_FILE)
    unit.parent.mkdir(parents=True)
    unit.write_text(unit_text("trades"))
    assert installed_user(there) == "trades"


@pytest.mark.parametrize(("user", "python", "says"), [
    ("Pump Watch", "/usr/bin/python3", "not a name"), ("root", "/usr/bin/python3", "does not run as root"),
    ("x\nExecStart=/bin/sh", "/usr/bin/python3", "not a name"), ("pumpwatch", "/home/me/python3", "home folder")])
def test_a_wish_that_the_service_could_not_fulfil_is_refused(tmp_path: Path, user: str, python: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Wish(tmp_path, python, user).check()


def test_the_launcher_shares_the_unpacked_program_with_nobody_but_its_owner(tmp_path: Path) -> None:
    python, cache = tmp_path / "py thon", tmp_path / "cache"
    python.write_text('#!/bin/sh\necho "$SHIV_ROOT" "$@"\n')
    python.chmod(0o755)
    script = tmp_path / "launcher"
    script.write_text(launcher_text(str(python)).replace("/var/cache/pumpwatch", str(cache)))
    said = subprocess.run(["sh", script, "a b"], capture_output=True, text=True, check=True, env={}).stdout
    assert said == f" {PROGRAM} a b\n"
    cache.mkdir()
    said = subprocess.run(["sh", script, "a b"], capture_output=True, text=True, check=True, env={}).stdout
    assert said == f"{cache} {PROGRAM} a b\n"
