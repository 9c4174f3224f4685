"""Judging a data folder: what is complete, and what nobody has written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import GapState
from pumpwatch.ops.completeness import Judge, Summary, judged_until_ns
from pumpwatch.ops.minute_states import State
from pumpwatch.store.minutes import MINUTE_NS
from pumpwatch.store.sqlite import connect
from tests.ops.minute_folder import FACTS, FIRST, START_NS, SYMBOLS, VENUE, MinuteFolder, gap, trades


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> MinuteFolder:
    """Ten minutes of two symbols, a trade a second, watched since before; each test gets a copy."""
    data = MinuteFolder(tmp_path_factory.mktemp("written") / "data")
    data.watch(*SYMBOLS)
    data.store(*(trades(symbol, range(60 * minute, 60 * minute + 60)) for minute in range(10) for symbol in SYMBOLS))
    return data


@pytest.fixture
def data(written: MinuteFolder, tmp_path: Path) -> MinuteFolder:
    return written.copy(tmp_path / "data")


def judged(data: MinuteFolder, first: int = 0, end: int = 10, **options) -> Summary:
    summary = Summary(FACTS)
    judge = Judge(data.folder, FACTS, options.pop("ended_ns", None))
    for day in judge.days((FIRST + first) * MINUTE_NS, (FIRST + end) * MINUTE_NS, **options):
        summary.add(day)
    return summary


def counts(summary: Summary) -> dict[str, int]:
    return {state.name: count for state, count in summary.venues[VENUE].minutes.items() if count}


def test_a_whole_folder_is_complete_to_the_minute(data: MinuteFolder) -> None:
    summary = judged(data)
    assert counts(summary) == {"COMPLETE": 20} and summary.flaws == []
    assert (summary.venues[VENUE].trades, summary.venues[VENUE].proof) == (1200, "id")
    assert counts(judged(data, -5, 12)) == {"COMPLETE": 20, "QUIET": 14}


def test_trades_deleted_from_a_segment_are_a_hole_with_their_ids(data: MinuteFolder) -> None:
    assert data.delete("id = 7") == 1  # a minute of one symbol
    summary = judged(data)
    (hole,) = summary.flaws
    assert (hole.kind, hole.symbol) == ("hole", "AUSDT") and "60 trades, ids 1180 to 1239" in hole.detail
    assert counts(summary) == {"COMPLETE": 17, "GAP": 3}
    assert summary.gap_minutes == 3 and dict(summary.venues[VENUE].gap_minutes) == {"AUSDT": 3}


def test_what_was_counted_and_is_deleted_at_the_end_is_lost(data: MinuteFolder) -> None:
    data.count()
    data.delete("id = 20")  # no later trade shows the jump of ids
    summary = judged(data)
    (lost,) = summary.flaws
    assert (lost.kind, lost.symbol, lost.detail) == ("lost", "BUSDT", "60 trades that were stored are missing now")
    assert counts(summary) == {"COMPLETE": 19, "GAP": 1}
    assert counts(judged(data, quick=True)) == {"COMPLETE": 20}


def test_a_gap_explains_what_is_not_there(data: MinuteFolder) -> None:
    data.count()
    data.delete("id = 7")
    data.store(gaps=[gap(180, 240, symbol="AUSDT", first_id=1180, last_id=1239)])
    summary = judged(data)
    assert summary.flaws == [] and counts(summary) == {"COMPLETE": 19, "GAP": 1}
    assert dict(summary.venues[VENUE].reasons) == {"connection lost": 1}


def test_minutes_of_a_hole_that_its_gap_leaves_out_are_gaps_too(data: MinuteFolder) -> None:
    data.delete("id = 7")
    data.store(gaps=[gap(200, 200.000_000_005, symbols=("AUSDT",))])
    summary = judged(data)
    assert summary.flaws == [] and counts(summary) == {"COMPLETE": 17, "GAP": 3}
    assert dict(summary.venues[VENUE].reasons) == {"connection lost": 1, "ids are missing": 2}


def test_ids_of_rows_that_are_no_trades_are_no_hole(tmp_path: Path) -> None:
    data = MinuteFolder(tmp_path)
    data.watch(*SYMBOLS)
    data.store(trades("AUSDT", [second for second in range(120) if second != 70]), voids=[(0, 1070, START_NS + 70 * NS_PER_S)])
    assert judged(data, 0, 2).flaws == []


def test_after_expiry_the_ledger_of_minutes_knows_the_same(data: MinuteFolder) -> None:
    before = judged(data)
    data.count()
    for path in (data.folder / "journal").glob("*.sqlite"):
        path.unlink()
    (data.folder / "segments.json").unlink()
    data.clock.advance(3600)
    data.store(trades("AUSDT", range(7200, 7210)))
    after = judged(data)
    assert counts(after) == counts(before) and after.venues[VENUE].trades == 1200
    assert after.flaws == []


def test_a_hole_is_known_from_the_ledger_of_minutes_as_well(data: MinuteFolder) -> None:
    data.delete("id = 7")
    data.count()
    assert [flaw.kind for flaw in judged(data, quick=True).flaws] == ["hole"]


def test_a_hole_that_begins_long_before_the_judged_time_is_explained_by_the_gap_at_its_beginning(tmp_path: Path) -> None:
    data = MinuteFolder(tmp_path)
    data.watch(*SYMBOLS)
    data.store(trades("AUSDT", [*range(60), *range(6 * 3600, 6 * 3600 + 60)]), trades("BUSDT", range(100)),
               gaps=[gap(60, 600, state=GapState.LOST)])
    data.count()
    for first in (75, 110, 119):  # minutes; the hour of the trades before the hole is read, the gap ended more than an hour ago
        assert judged(data, first, 361, quick=True).flaws == []
    assert [flaw.kind for flaw in judged(without_gaps(data), 110, 361, quick=True).flaws] == ["hole"]


def without_gaps(data: MinuteFolder) -> MinuteFolder:
    connection = connect(data.folder / "ledger.sqlite")
    connection.execute("DELETE FROM gaps")
    connection.close()
    return data


def test_quick_reads_what_is_not_counted_yet(data: MinuteFolder) -> None:
    data.count()
    data.store(trades("AUSDT", range(600, 660)))
    assert judged(data, 0, 11, quick=True).venues[VENUE].trades == 1260


def test_after_the_end_of_the_collector_everything_is_a_gap(data: MinuteFolder) -> None:
    summary = judged(data, 0, 15, ended_ns=START_NS + 600 * NS_PER_S)
    assert counts(summary) == {"COMPLETE": 20, "GAP": 10}
    assert dict(summary.venues[VENUE].reasons) == {"no collector has run since": 10}


def test_chosen_symbols_alone_are_judged(data: MinuteFolder) -> None:
    assert counts(judged(data, chosen=lambda exchange, market, symbol: symbol == "BUSDT")) == {"COMPLETE": 10}


def test_days_are_judged_one_by_one(data: MinuteFolder) -> None:
    summary = judged(data, -700, 10)
    assert counts(summary) == {"COMPLETE": 20, "QUIET": 10, "UNREAD": 1190}


def test_a_venue_without_a_plugin_has_no_ids_that_prove_anything(data: MinuteFolder) -> None:
    data.delete("id = 7")
    summary = Summary({})
    for day in Judge(data.folder, {}).days(START_NS, START_NS + 600 * NS_PER_S):
        summary.add(day)
    assert summary.flaws == [] and summary.venues[VENUE].proof == "connection"
    assert summary.venues[VENUE].minutes[State.QUIET] == 1


def test_a_minute_is_judged_two_minutes_after_its_end() -> None:
    assert judged_until_ns(START_NS + 179 * NS_PER_S) == START_NS
    assert judged_until_ns(START_NS + 180 * NS_PER_S) == START_NS + 60 * NS_PER_S


def test_ids_of_a_time_in_which_another_collector_read_the_symbol_are_not_missing(data: MinuteFolder) -> None:
    data.delete("id = 7")  # the fourth minute of a symbol
    data.watch(SYMBOLS[1], second=180)
    data.watch(*SYMBOLS, second=240)
    summary = judged(data)
    assert summary.flaws == [] and counts(summary) == {"COMPLETE": 19, "UNREAD": 1}
