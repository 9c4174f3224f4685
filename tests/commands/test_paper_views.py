"""paper runs, show and summary, as a person and a script meet them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.rendered import check_lines
from tests.ops.command_line import CommandLine
from tests.paper.made_runs import keep, listing, run_of


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config of an empty data folder."""
    path = tmp_path / "pumpwatch.yaml"
    path.write_text(f"store: {{dir: {tmp_path / 'data'}}}\n")
    (tmp_path / "data").mkdir()
    return path


def test_without_a_run_the_commands_say_how_to_make_one(command: CommandLine, config: Path) -> None:
    none = command("paper", "runs", "-c", config)
    assert (none.returncode, none.stdout) == (0, "") and "no run is kept yet; make one" in none.stderr
    for name in ("show", "summary"):
        missing = command("paper", name, "-c", config)
        assert missing.returncode == 2 and "no run is kept yet" in missing.stderr


def test_runs_are_listed_by_delay(command: CommandLine, config: Path, tmp_path: Path) -> None:
    keep(tmp_path / "data", run_of(listing("SOMI", [5.0, -3.0]), listing("KITE", [2.0, None])))
    listed = command("paper", "runs", "-c", config)
    lines = check_lines(listed.stdout.splitlines(), 80).splitlines()
    assert lines[0].split()[:1] == ["run"] and [line.split()[0] for line in lines[1:]] == ["a1b2c3"] * 2
    assert "+3.50 %" in lines[1] and "-3.00 %" in lines[2] and "SOMI, KITE" in lines[1]
    row = json.loads(command("paper", "runs", "--json", "-c", config).stdout)
    assert row["run"]["run_id"] == "a1b2c3" and row["made_ms"] > 0
    more = command("paper", "runs", "--limit", "1", "-c", config)
    assert "more runs" not in more.stderr


def test_a_run_is_shown_by_listing_and_delay(command: CommandLine, config: Path, tmp_path: Path) -> None:
    folder = keep(tmp_path / "data", run_of(listing("SOMI", [5.0, None])))
    shown = command("paper", "show", "a1", "-c", config)
    lines = check_lines(shown.stdout.splitlines(), 80).splitlines()
    assert shown.returncode == 0 and len(lines) == 3
    assert "+50.00" in lines[1] and "time" in lines[1] and "none" in lines[2]
    assert "listings played" not in shown.stdout  # of one there is nothing to sum up
    whole = json.loads(command("paper", "show", "--json", "-c", config).stdout)
    assert whole == json.loads((folder / "result.json").read_text())


def test_a_summary_names_who_is_in_no_figure(command: CommandLine, config: Path, tmp_path: Path) -> None:
    keep(tmp_path / "data", run_of(listing("SOMI", [5.0]), listing("KITE", [None]), listing("X", [], "data/X_1", "it is cut")))
    made = command("paper", "summary", "-c", config)
    assert check_lines(made.stdout.splitlines(), 80).splitlines()[0] == "2 of 3 listings played"
    for said in ("no entry after 100 ms: KITE", "left out: X (X_1): it is cut", "too few to conclude from"):
        assert said in made.stderr
    seeds = {command("paper", "summary", "--json", "--seed", seed, "-c", config).stdout for seed in ("1", "1")}
    assert len(seeds) == 1 and json.loads(seeds.pop())["seed"] == 1
