"""notify test, as a person and a script meet it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.commands.rendered import check_lines
from tests.notify.configured import config_of
from tests.ops.command_line import CommandLine


def test_each_channel_has_a_row_and_one_that_fails_is_69(command: CommandLine, tmp_path: Path) -> None:
    config_of(tmp_path, good={"command": ["true"]}, bad={"command": ["false"]})
    tried = command("notify", "test", "-c", "pumpwatch.yaml")
    rows = [line.split()[:3] for line in check_lines(tried.stdout.splitlines(), 80).splitlines()]
    assert rows == [["channel", "kind", "result"], ["good", "command", "taken"], ["bad", "command", "failed"]]
    assert (tried.returncode, tried.stderr) == (69, "1 of 2 channels accepted the message\n")
    tried = command("notify", "test", "good", "--json", "-c", "pumpwatch.yaml")
    row = json.loads(tried.stdout)
    assert tried.returncode == 0 and list(row) == ["name", "kind", "taken", "reason", "ms"] and row["taken"] is True


def test_it_works_in_a_process_that_gevent_has_patched(tmp_path: Path) -> None:
    config_of(tmp_path, good={"command": ["cat"]})
    words = [sys.executable, "-m", "pumpwatch", "notify", "test", "-c", str(tmp_path / "pumpwatch.yaml")]
    assert subprocess.run(words, check=False, timeout=120).returncode == 0


def test_no_channel_is_78_and_an_unknown_one_2(command: CommandLine, tmp_path: Path) -> None:
    nothing = command("notify", "test")
    assert (nothing.returncode, nothing.stderr.splitlines()[0]) == (78, "pumpwatch: the config names no channel")
    config_of(tmp_path, good={"command": ["true"]})
    assert command("notify", "test", "nobody", "-c", "pumpwatch.yaml").returncode == 2
    config_of(tmp_path, bad={})
    assert command("notify", "test", "-c", "pumpwatch.yaml").returncode == 78
    assert command("check", "-c", "pumpwatch.yaml").returncode == 78
