"""The unit of systemd is one that systemd accepts, and its commands are ones that the program accepts."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from pumpwatch.cli import pumpwatch
from pumpwatch.ops.service_manager import ALIVE_S

ROOT = Path(__file__).resolve().parent.parent
UNIT = ROOT / "pumpwatch" / "host" / "files" / "pumpwatch.service"
PROGRAM, CONFIG = "/usr/local/bin/pumpwatch", "/etc/pumpwatch/pumpwatch.yaml"


def settings() -> dict[str, str]:
    lines = [line for line in UNIT.read_text("utf-8").splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here")
    program = tmp_path / "pumpwatch"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text("utf-8").replace(PROGRAM, str(program)), "utf-8")
    command = [analyze, "verify", "--man=no", "--recursive-errors=no", copy]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    copy.write_text(copy.read_text("utf-8").replace("Type=notify", "Type=notifies"), "utf-8")
    assert "notifies" in subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize("key", ["ExecStartPre", "ExecStart", "ExecReload"])
def test_its_commands_are_understood(key: str) -> None:
    program, *arguments = shlex.split(settings()[key])
    assert program == PROGRAM and arguments[-2:] == ["-c", CONFIG]
    command, *options = arguments[:-2]
    assert CliRunner().invoke(pumpwatch, [command, *options, "--help"]).exit_code == 0
    known = {option for parameter in pumpwatch.get_command(None, command).params for option in parameter.opts}
    assert set(options) <= known


def test_the_process_that_takes_over_may_speak_for_the_service_and_has_time_to() -> None:
    unit = settings()
    assert (unit["Type"], unit["NotifyAccess"]) == ("notify", "all")
    (within,) = [parameter for parameter in pumpwatch.get_command(None, "collect").params if parameter.name == "replace_within"]
    assert int(unit["TimeoutStartSec"]) > within.default


def test_a_stop_waits_until_the_process_has_ended(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    script = f"trap 'sleep 0.3; touch {ended}; exit' TERM; echo ready; while :; do sleep 0.05; done"
    process = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    reaper = threading.Thread(target=process.wait)
    reaper.start()
    command = shlex.split(settings()["ExecStop"].removeprefix("-"))
    subprocess.run(command, env={**os.environ, "MAINPID": str(process.pid)}, check=True, timeout=60)
    assert ended.exists()
    reaper.join()


def test_the_watchdog_waits_for_several_reports() -> None:
    assert int(settings()["WatchdogSec"]) >= 6 * ALIVE_S


def test_nothing_of_ours_uses_cron() -> None:
    """Jobs are the scheduler's, inside the collector."""
    told = [path for path in (*ROOT.glob("docs/*.md"), ROOT / "README.md") if "cron" in path.read_text("utf-8").lower()]
    assert told == [ROOT / "docs" / "install.md"]  # it says that there is none
    code = [path for folder in ("pumpwatch", "plugins", "packaging", "config") for path in (ROOT / folder).rglob("*")
            if path.suffix not in (".pyc", ".js", ".png") and path.is_file()]
    assert [path for path in code if re.search(r"\b(?:ana)?cron(?:tab|d)?\b", path.read_text("utf-8", "replace"))] == []
    assert len(code) > 100
