"""status, check, plugins: what a person sees, and that a watched collector is shown until Ctrl-C."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from pumpwatch.clock import Clock
from pumpwatch.ops import health
from tests.commands.figures import figures
from tests.commands.rendered import check_lines
from tests.ops.command_line import CommandLine


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config whose data folder has a running collector's figures: this process's."""
    status = figures(pid=os.getpid(), written_at_ns=Clock().now_ns())
    (tmp_path / health.FILE).write_bytes(msgspec.json.encode(status))
    (tmp_path / "c.yaml").write_text(f"store: {{dir: {tmp_path}}}\n", "utf-8")
    return tmp_path / "c.yaml"


def test_status_fits_80_columns_and_columns_makes_it_wider(command: CommandLine, config: Path) -> None:
    check_lines(command("status", "-c", config).stdout.splitlines(), 80)
    wide = command("status", "-c", config, env={"COLUMNS": "120"}).stdout.splitlines()
    check_lines(wide, 120)
    assert any("binance.futures" in line for line in wide)
    assert json.loads(command("status", "--json", "-c", config).stdout)["version"] == "0.1.0"


@pytest.mark.parametrize(("option", "lines"), [("--json", 2), ("--line", 2), ("--watch", 0)])
def test_a_watched_status_is_renewed_until_an_interrupt(
        command: CommandLine, config: Path, monkeypatch: pytest.MonkeyPatch, option: str, lines: int) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("pumpwatch.commands.repeat.time.sleep", sleep)
    done = command("status", "--watch", option, "-c", config)
    assert done.returncode == 0 and done.stderr == ""
    assert len(done.stdout.splitlines()) == lines or done.stdout.count("PumpWatch 0.1.0") == 2


def test_a_watched_collector_that_is_gone_ends_the_watch_with_69(command: CommandLine) -> None:
    assert command("status", "--watch").returncode == 69


def test_plugins_are_a_row_each_with_the_reason_of_a_refused_one_below(command: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir(mode=0o755)
    (tmp_path / "more" / "bad.py").write_text("import nowhere_to_be_found")
    (tmp_path / "c.yaml").write_text("plugins: {folder: more}")
    done = command("plugins", "list", "-c", "c.yaml")
    lines = done.stdout.splitlines()
    check_lines(lines, 80)
    bad = next(number for number, line in enumerate(lines) if line.startswith("bad"))
    assert done.returncode == 1 and "refused" in lines[bad] and "nowhere_to_be_found" in " ".join(lines[bad + 1:bad + 3])
