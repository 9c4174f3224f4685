"""A report a day: when it is due, that it comes again, what is in it, and when it goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.ops.daily_report import DAY_NS, DUE_S, DailyReports
from tests.ops.minute_folder import FACTS, START_NS, SYMBOLS, MinuteFolder, gap, trades

TODAY = START_NS // DAY_NS
MIDNIGHT_NS = (TODAY + 1) * DAY_NS
DUE_NS = MIDNIGHT_NS + int(DUE_S * NS_PER_S)


@pytest.fixture
def data(tmp_path: Path) -> MinuteFolder:
    """A day with ten minutes of trades, counted after its end."""
    data = MinuteFolder(tmp_path)
    data.watch(*SYMBOLS)
    data.store(trades("AUSDT", range(600)), gaps=[gap(60, 61)])
    data.clock.advance((DUE_NS - data.clock.now_ns()) / NS_PER_S)
    data.count()
    return data


def reports(data: MinuteFolder, keep_days: int = 90) -> DailyReports:
    return DailyReports(data.folder, FACTS, keep_days)


def test_a_day_is_reported_ten_minutes_after_its_end(data: MinuteFolder) -> None:
    assert reports(data).write_due(DUE_NS - 1) == []
    (path,) = reports(data).write_due(DUE_NS)
    assert path.parent == data.folder / "reports" and path.stat().st_mode & 0o777 == 0o640
    report = json.loads(path.read_text("utf-8"))
    assert (report["format"], report["date"], report["to_ns"], report["gap_minutes"]) == (1, path.stem, MIDNIGHT_NS, 2)
    (venue,) = report["venues"]
    assert venue["trades"] == 600 and venue["minutes"]["complete"] == 9 and venue["reasons"] == {"connection lost": 2}
    assert report["contradictions"] == [] and report["contradictions_total"] == 0


def test_it_comes_again_on_three_days_since_gaps_may_be_filled(data: MinuteFolder) -> None:
    made = [len(reports(data).write_due(DUE_NS + hours * 3600 * NS_PER_S)) for hours in range(0, 24 * 6, 6)]
    assert made == [1, 0, 0, 0] * 4 + [0, 0, 0, 0] * 2


def test_it_waits_until_every_trade_of_the_day_is_counted(tmp_path: Path) -> None:
    data = MinuteFolder(tmp_path)
    data.watch(*SYMBOLS)
    data.store(trades("AUSDT", range(600)))
    data.count()
    assert reports(data).write_due(DUE_NS) == []


def test_a_day_of_which_nothing_is_known_has_none(data: MinuteFolder) -> None:
    assert [path.name for path in reports(data).write_due(DUE_NS)] == [reports(data).path(TODAY).name]


def test_a_report_that_is_damaged_is_written_again(data: MinuteFolder) -> None:
    (path,) = reports(data).write_due(DUE_NS)
    path.write_bytes(b"{")
    assert reports(data).write_due(DUE_NS) == [path]


def test_old_reports_go_and_other_files_stay(data: MinuteFolder) -> None:
    folder = data.folder / "reports"
    folder.mkdir()
    for name in ("2001-01-01.json", "notes.json"):
        (folder / name).write_text("{}")
    (path,) = reports(data).write_due(DUE_NS)
    assert sorted(file.name for file in folder.iterdir()) == [path.name, "notes.json"]
    reports(data, 1).write_due(DUE_NS + 3 * DAY_NS)
    assert sorted(file.name for file in folder.iterdir()) == ["notes.json"]


def test_a_folder_that_cannot_be_written_is_an_error(data: MinuteFolder) -> None:
    (data.folder / "reports").write_text("a file")
    with pytest.raises(StorageError):
        reports(data).write_due(DUE_NS)
