"""The work that is left of a gap."""

from __future__ import annotations

import pytest

from pumpwatch.backfill.work import GapWork, Jumps, OpenGap, symbols_of, works_of
from pumpwatch.model import Gap, GapState
from pumpwatch.records import NOT_RUNNING, GapFill

IDS = {"A": 0, "B": 1, "C": 2}


def gap(**facts: object) -> Gap:
    return Gap(**({"exchange": "venue", "market_type": "spot", "from_ns": 10, "to_ns": 20, "reason": "cut"} | facts))


def fill(of: Gap, symbol: str, state: GapState, **facts: object) -> GapFill:
    return GapFill(**({"gap": of, "symbol": symbol, "state": state, "found": 1, "missing": 0, "by": "id"} | facts))


def test_a_gap_of_a_venue_is_work_for_each_of_its_symbols():
    assert [work.symbol for work in works_of(OpenGap(gap(), 0.0), IDS)] == ["A", "B", "C"]


def test_a_gap_of_a_connection_is_work_for_its_symbols_alone():
    assert symbols_of(gap(symbols=("A", "C")), IDS) == ("A", "C")
    assert symbols_of(gap(symbol="B"), IDS) == ("B",)


def test_symbols_that_are_done_are_left_out():
    of = gap()
    found = OpenGap(of, 0.0, {"A": fill(of, "A", GapState.FILLED), "B": fill(of, "B", GapState.LOST)})
    assert [work.symbol for work in works_of(found, IDS)] == ["C"]


def test_a_symbol_that_is_done_in_part_goes_on_with_what_was_found():
    of = gap()
    (work,) = works_of(OpenGap(of, 5.0, {"A": fill(of, "A", GapState.OPEN, found=7)}), {"A": 0})
    assert (work.found, work.settled_at) == (7, 5.0)


def test_a_gap_is_lost_if_any_of_its_symbols_is():
    of = gap()
    filled = OpenGap(of, 0.0, {"A": fill(of, "A", GapState.FILLED)})
    assert filled.result() is GapState.FILLED
    filled.fills["B"] = fill(of, "B", GapState.LOST)
    assert filled.result() is GapState.LOST


@pytest.mark.parametrize(("facts", "within"), [
    ({"symbols": ("A",)}, True), ({"symbol": "A"}, True), ({"reason": f"{NOT_RUNNING}, after it was killed"}, True),
    ({"reason": "trades dropped"}, False)])
def test_ids_seen_since_prove_nothing_where_trades_were_read_and_not_stored(facts, within):
    assert GapWork(gap(**facts), "A", 0).within_run is within


def test_gaps_by_jumps_are_found_by_their_ids_without_those_that_are_done():
    jumps = Jumps()
    works = [GapWork(gap(symbol="A", first_id=first, last_id=first + 4), "A", 0) for first in (30, 10, 50, 20, 40)]
    for work in (*works, GapWork(gap(symbol="A"), "A", 0)):
        jumps.add(work)
    works[4].done = True
    own = works[2]
    assert jumps.near(0, 99, own) == [(10, 14), (20, 24), (30, 34)]
    assert jumps.near(24, 30, own) == [(20, 24), (30, 34)] and jumps.near(25, 29, own) == jumps.near(60, 99, own) == []
    assert jumps.near(50, 50, works[0]) == [(50, 54)]
    works[1].done = True
    jumps.forget_done()
    works[1].done = False
    assert jumps.near(0, 99, own) == [(20, 24), (30, 34)]
