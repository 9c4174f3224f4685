"""One answer of a history serves all gaps of a symbol that it can serve."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from pumpwatch.backfill.intake import Unsettled
from pumpwatch.backfill.work import Jumps
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.errors import BadFrame
from pumpwatch.model import GapState, IdKind
from pumpwatch.records import Records
from pumpwatch.venue import HistoryQuery
from tests.backfill.scripted import START_NS, MemoryCollector, ScriptedHistory, gap_of, scripted_venue, trade


def newest_only(answer_at_s: float) -> tuple[MemoryCollector, ScriptedHistory]:
    """Return a collector of a venue that gives its newest rows alone, with two gaps of one symbol open."""
    clock = FakeClock(START_NS + int(answer_at_s * NS_PER_S))
    venue = scripted_venue(kind=IdKind.MONOTONIC, pages=False, by_id=False, rows_per_request=100)
    history = ScriptedHistory(venue, {"S": [trade("S", number, kind=IdKind.MONOTONIC) for number in range(1, 100)]}, clock)
    collector = MemoryCollector([history], clock, {"S": 1.0})
    rows = history.rows["S"]
    for first, last in ((1, 20), (30, 50), (60, 99)):
        collector.live(rows[first - 1:last])
    collector.record(Records(gaps=[gap_of(venue, 20.5, 29.5, symbols=("S",)), gap_of(venue, 50.5, 59.5, symbols=("S",))]))
    return collector, history


def test_the_gaps_of_a_symbol_cost_one_request_where_only_newest_rows_are_given():
    collector, history = newest_only(120.0)
    fills = [collector.fill(collector.work(gap, "S")) for gap in list(collector.gaps.values())]
    assert [(fill.state, fill.found) for fill in fills] == [(GapState.FILLED, 9), (GapState.FILLED, 9)]
    assert len(history.asked) == 1
    assert len(collector.have("S")) == len(set(collector.have("S"))) == 99


def test_an_answer_from_before_the_end_of_a_gap_is_not_used_for_it():
    collector, history = newest_only(120.0)
    first, second = list(collector.gaps.values())
    collector.fill(collector.work(first, "S"))
    answers, query = collector.accesses[0].answers, HistoryQuery("S", 0, 0)
    kept = answers.find(query, history.venue.history, 0)
    assert kept is not None
    answers.keep(dataclasses.replace(kept, asked_ns=second.to_ns + 1), history.venue.history)
    assert collector.fill(collector.work(second, "S")).state is GapState.FILLED
    assert len(history.asked) == 2


def test_an_answer_that_fails_a_check_is_used_for_no_gap():
    for spoil in (lambda rows: [], lambda rows: [{**row, "id": row["id"] + 1} for row in rows]):
        collector, history = newest_only(120.0)
        works = [collector.work(gap, "S") for gap in collector.gaps.values()]
        history.spoil = spoil
        for work in works:
            with pytest.raises(BadFrame):
                collector.fill(work)
            work.failures += 1
        assert len(history.asked) == 2 and len(collector.accesses[0].answers) == 0
        history.spoil = lambda rows: rows
        assert [collector.fill(work).state for work in works] == [GapState.FILLED] * 2
        assert len(history.asked) == 4


def test_an_answer_for_one_jump_in_ids_fills_the_others_that_it_reaches():
    clock = FakeClock(START_NS + 120 * NS_PER_S)
    venue = scripted_venue(rows_per_request=100)

    class FromAnId(ScriptedHistory):
        """It gives a full page from the first id on, whatever the last one is."""

        def _answer(self, query: Any, symbol: str) -> Any:
            return super()._answer({**query, "last": -1}, symbol)

    history = FromAnId(venue, {"S": [trade("S", number) for number in range(1, 100)]}, clock)
    collector = MemoryCollector([history], clock, {"S": 1.0})
    rows = history.rows["S"]
    for first, last in ((1, 20), (30, 50), (55, 99)):
        collector.live(rows[first - 1:last])
    one, other = (collector.work(gap) for gap in list(collector.gaps.values()))
    one.beside = Jumps()
    one.beside.add(other)
    assert (collector.fill(one).state, one.found) == (GapState.FILLED, 9)
    fill = collector.fill(dataclasses.replace(other))
    assert (fill.state, fill.found) == (GapState.FILLED, 4)
    assert len(collector.have("S")) == len(set(collector.have("S"))) == 99


def test_gaps_that_have_only_just_ended_share_an_answer_of_that_moment_and_ask_again_before_it_moves_on():
    collector, history = newest_only(60.0)
    works = [collector.work(gap, "S") for gap in collector.gaps.values()]
    for work in works:
        work.settled_at = collector.clock.monotonic()
        with pytest.raises(Unsettled) as caught:
            collector.fill(work)
        assert caught.value.within_s == pytest.approx(0.3 * 59)  # the rows reach back 59 s
    assert len(history.asked) == 1
    collector.clock.advance(1.0)
    with pytest.raises(Unsettled):
        collector.fill(works[0])
    assert len(history.asked) == 2


@pytest.mark.parametrize(("rows", "pause_s"), [(100, 5.0), (11, 3.0), (2, 0.5)])
def test_the_shorter_a_history_reaches_the_sooner_it_is_asked_again(rows, pause_s):
    clock = FakeClock(START_NS + 60 * NS_PER_S)
    venue = scripted_venue(kind=IdKind.MONOTONIC, pages=False, rows_per_request=rows)
    history = ScriptedHistory(venue, {"S": [trade("S", number, kind=IdKind.MONOTONIC) for number in range(1, 61)]}, clock)
    collector = MemoryCollector([history], clock, {"S": 1.0})
    collector.record(Records(gaps=[gap_of(venue, 50.5, 59.5, symbols=("S",))]))
    stage = collector.stage()
    stage.look()
    work = stage._queues[0].take_next()
    assert work is not None and stage.attempt(stage._queues[0], work) is None
    assert work.not_before - clock.monotonic() == pytest.approx(pause_s)
