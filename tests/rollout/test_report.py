"""A phase ends with a report that a person and a program can read; old ones go."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pumpwatch.errors import StorageError
from pumpwatch.ops.daily_report import NAME as DAILY
from pumpwatch.rollout.answers import PhaseAnswers
from pumpwatch.rollout.machine import EndedPhase
from pumpwatch.rollout.report import KEPT, write_report

NOW_NS = 1_780_000_000 * 10**9


def ended() -> EndedPhase:
    answers = PhaseAnswers()
    for ms in (10.0, 20.0, None):
        answers.add(ms)
    answers.differences["doubled"] = 3
    answers.last_difference, answers.last_difference_ns = "doubled: 3, such as x", 10**9
    answers.add_memory(1000)
    return EndedPhase(10, NOW_NS - 10**9, 1.0, answers, "running: the phase of 10 % ended after 1 h")


def test_a_report_has_the_queries_the_differences_the_times_and_the_memory(tmp_path: Path) -> None:
    path = write_report(tmp_path, "quest db", ended(), NOW_NS)
    assert path.name == "rollout_quest_db_10_20260528T202640Z.json" and not DAILY.fullmatch(path.name)
    report = json.loads(path.read_text())
    assert report["queries"] == 3 and report["failed"] == 1 and report["error_percent"] == 33.33
    assert report["differences"] == {"missing in the sink": 0, "missing in the journal": 0, "other values": 0, "doubled": 3}
    assert (report["last_difference"], report["last_difference_ms"]) == ("doubled: 3, such as x", 1_000)
    assert 20.0 <= report["p99_ms"] <= 20.5 and report["mean_ms"] == 15.0 and report["rss_bytes"]["most"] == 1000


def test_the_oldest_reports_go(tmp_path: Path) -> None:
    for number in range(KEPT):
        old = write_report(tmp_path, "questdb", ended(), NOW_NS + number * 10**9)
        os.utime(old, (number, number))
    (tmp_path / "reports" / "2026-01-01.json").write_text("{}")
    write_report(tmp_path, "questdb", ended(), NOW_NS + 10**12)
    names = sorted(path.name for path in (tmp_path / "reports").iterdir())
    assert len(names) == KEPT + 1 and "2026-01-01.json" in names
    assert "rollout_questdb_10_20260528T202640Z.json" not in names


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("")
    with pytest.raises(StorageError, match="report of the phase"):
        write_report(tmp_path, "questdb", ended(), NOW_NS)
