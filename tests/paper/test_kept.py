"""Runs that are kept: the newest first, found by the beginning of their id, and no other file of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pumpwatch.errors import StorageError, UsageError
from pumpwatch.paper.kept import HEADING, file_of, heading, headings, kept_run
from tests.paper.made_runs import keep, listing, run_of


def keep_at(data: Path, run_id: str, at_s: int) -> None:
    os.utime(keep(data, run_of(listing("SOMI", [1.0]), run_id=run_id)) / HEADING, (at_s, at_s))


def test_runs_come_the_newest_first_a_page_at_a_time(tmp_path: Path) -> None:
    assert headings(tmp_path) == ([], 0)
    for number, run_id in enumerate(("b1", "a1", "c1")):
        keep_at(tmp_path, run_id, 1000 + number)
    assert [row.run_id for row, _ in headings(tmp_path)[0]] == ["c1", "a1", "b1"]
    (found,), total = headings(tmp_path, 1, 1)
    assert (found[0].run_id, found[1], total) == ("a1", 1_001_000, 3)


def test_a_heading_has_the_inputs_and_the_summary(tmp_path: Path) -> None:
    keep(tmp_path, run_of(listing("SOMI", [1.5]), listing("KITE", [], left_out="cut")))
    found = heading(tmp_path, "a1b2c3")
    assert found is not None
    assert (found[0].coins, found[0].strategy, found[0].seed) == (("SOMI", "KITE"), "buy_first", 7)
    assert found[0].summary.delays[0].median_percent == 1.5 and found[0].summary.left_out[0].coin == "KITE"
    assert heading(tmp_path, "other") is None


def test_a_damaged_heading_hides_no_other_run(tmp_path: Path) -> None:
    keep_at(tmp_path, "a1", 1000)
    (keep(tmp_path, run_of(listing("SOMI", [1.0]), run_id="b1")) / HEADING).write_text("{")
    found, total = headings(tmp_path)
    assert ([row.run_id for row, _ in found], total) == (["a1"], 2)
    with pytest.raises(StorageError, match="cannot be read"):
        heading(tmp_path, "b1")


def test_a_run_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run is kept yet"):
        kept_run(tmp_path)
    for number, run_id in enumerate(("ab12", "ab34", "cd56", "cd")):
        keep_at(tmp_path, run_id, 1000 - number)
    assert kept_run(tmp_path).run_id == "ab12"  # the newest
    assert kept_run(tmp_path, "ab3").run_id == "ab34"
    assert kept_run(tmp_path, "cd").run_id == "cd"
    for wanted, problem in (("ab", "2 runs begin with ab"), ("zz", "no run zz"), ("../../etc", "not a run")):
        with pytest.raises(UsageError, match=problem):
            kept_run(tmp_path, wanted)


def test_no_other_file_can_be_got(tmp_path: Path) -> None:
    folder = keep(tmp_path, run_of(listing("SOMI", [1.0])))
    assert file_of(tmp_path, "a1b2c3", "run.html") == folder / "run.html"
    (tmp_path / "result.json").write_text("secret")
    (folder / "heading.json").unlink()
    (folder / "heading.json").symlink_to(tmp_path / "result.json")
    for run_id, name in (("..", "result.json"), ("a1b2c3", "../../result.json"), ("a1b2c3", "heading.json"), ("", "result.json"),
                         ("a1b2c3", "strategy.py")):
        assert file_of(tmp_path, run_id, name) is None
