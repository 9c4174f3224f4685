"""`paper run` and `paper new`, as a person and a script meet them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.rendered import check_lines
from tests.ops.command_line import CommandLine
from tests.paper.made_archives import write


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config of a data folder with one archive."""
    path = tmp_path / "pumpwatch.yaml"
    path.write_text(f"store: {{dir: {tmp_path / 'data'}}}\nlisting: {{archive_dir: {tmp_path / 'archives'}}}\n")
    write(tmp_path / "archives")
    return path


def test_a_run_prints_a_row_for_each_delay_and_is_kept(command: CommandLine, config: Path, tmp_path: Path) -> None:
    [archive] = (tmp_path / "archives").iterdir()
    made = command("paper", "run", "--archive", archive, "--delay-ms", "100,400", "--hold-s", "5", "-c", config)
    *table, page = made.stdout.splitlines()
    rows = [line.split() for line in check_lines(table, 80).splitlines()]
    assert made.returncode == 0 and [row[:3] for row in rows[1:]] == [["KITE", "100", "ms"], ["KITE", "400", "ms"]]
    assert Path(page).name == "run.html" and Path(page).is_file()
    assert command("paper", "show", "-c", config).stdout.splitlines() == table
    assert command("paper", "check", "-c", config).returncode == 0


def test_every_listing_of_the_folder_is_played_and_nothing_is_kept_unless_wanted(command: CommandLine, config: Path,
                                                                                 tmp_path: Path) -> None:
    made = command("paper", "run", "--all", "--no-keep", "--json", "--latency-ms", "measured", "-c", config)
    [archive] = json.loads(made.stdout)["archives"]
    assert (archive["coin"], archive["left_out"], len(archive["outcomes"])) == ("KITE", None, 1)
    assert not (tmp_path / "data").exists()


def test_a_strategy_that_fails_is_named_with_its_line_and_leaves_nothing(command: CommandLine, config: Path,
                                                                         tmp_path: Path) -> None:
    written = command("paper", "new", "mine")
    path = tmp_path / written.stdout.strip()
    assert "--strategy ./mine.py" in written.stderr
    path.write_text(path.read_text().replace("self.bought = \"\"", "self.bought = 1 / 0"))
    [archive] = (tmp_path / "archives").iterdir()
    made = command("paper", "run", "--archive", archive, "--strategy", "./mine.py", "-c", config)
    assert (made.returncode, made.stdout) == (1, "")
    assert "pumpwatch: mine.py:" in made.stderr and "(on_listing): ZeroDivisionError: division by zero" in made.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("words", [
    (), ("KITE",), ("--at", "-5m"), ("KITE", "--at", "-5m", "--all"), ("--all", "--delay-ms", "5,x"), ("--all", "--delay-ms", ""),
    ("--all", "--size", "nan"), ("--all", "--size", "-1"), ("--all", "--latency-ms", "-1"), ("--all", "--latency-ms", "nan"),
    ("--all", "--share", "0"), ("--all", "--leverage", "0"), ("--all", "--strategy", "none.py"),
    ("--all", "--hold-s", "nan"), ("--all", "--target", "inf"), ("--all", "--delay-ms", "1" * 5000)])
def test_wrong_usage_is_said_and_nothing_is_played(command: CommandLine, config: Path, words: tuple[str, ...]) -> None:
    made = command("paper", "run", *words, "-c", config)
    assert (made.returncode, made.stdout) == (2, "")
    assert made.stderr


def test_a_ledger_that_does_not_answer_is_known_before_anything_is_played(command: CommandLine, config: Path) -> None:
    config.write_text(config.read_text() + "paper: {ledger_dsn: 'postgresql://me@127.0.0.1:1/paper'}\n")
    made = command("paper", "run", "--all", "-c", config)
    assert (made.returncode, made.stdout) == (69, "")
    assert "trades of" not in made.stderr


def test_an_amount_is_the_same_however_it_is_written(command: CommandLine, config: Path) -> None:
    made = [command("paper", "run", "--all", "--no-keep", "--json", "--size", size, "-c", config)
            for size in ("1000", "1000.000")]
    assert json.loads(made[0].stdout)["size"] == "1000"
    assert made[0].stdout == made[1].stdout
