"""The state of each minute: what gaps, fills and a record of what was watched make of the stored trades."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Gap, GapState
from pumpwatch.ops.minute_states import State, Timeline, timeline
from pumpwatch.records import GapFill
from pumpwatch.store.coverage import Watched
from tests.ops.minute_folder import FIRST, START_NS, SYMBOLS, VENUE, gap

LETTERS = "qcfgu"  # quiet, complete, filled, gap, unread
ALL = Watched(*VENUE, START_NS - 10**12, frozenset(SYMBOLS))


def watched(second: int, *symbols: str) -> Watched:
    return Watched(*VENUE, START_NS + second * NS_PER_S, frozenset(symbols))


def line_of(gaps: list[Gap] = [], fills: list[GapFill] = [], watches: list[Watched] | None = None,  # noqa: B006 never changed
            trades: str = "11111111") -> Timeline:
    rows = np.array([[int(mark) for mark in trades], [0] * len(trades)], np.int64)
    return timeline(VENUE, SYMBOLS, rows, FIRST, gaps, fills, [ALL] if watches is None else watches)


def shown(line: Timeline) -> list[str]:
    return ["".join(LETTERS[state] for state in row) for row in line.states.tolist()]


def fill(of: Gap, state: GapState = GapState.FILLED, symbol: str = SYMBOLS[0], **facts: object) -> GapFill:
    return GapFill(gap=of, symbol=symbol, state=state, **{"found": 1, "missing": 0, "by": "id"} | facts)


def test_without_a_gap_a_minute_is_complete_or_quiet() -> None:
    assert shown(line_of(trades="11011111")) == ["ccqccccc", "qqqqqqqq"]


def test_a_gap_spoils_every_minute_that_it_touches() -> None:
    assert shown(line_of([gap(59.9, 120.1)])) == ["gggccccc", "gggqqqqq"]
    assert shown(line_of([gap(60, 120, symbol="AUSDT")])) == ["cgcccccc", "qqqqqqqq"]
    assert shown(line_of([gap(60, 120, symbols=("BUSDT", "X"))])) == ["cccccccc", "qgqqqqqq"]
    assert shown(line_of([gap(-1000, -1), gap(10_000, 10_001)])) == ["cccccccc", "qqqqqqqq"]


def test_a_filled_gap_is_filled_unless_another_one_is_open() -> None:
    filled = gap(60, 240, state=GapState.FILLED)
    assert shown(line_of([filled])) == ["cfffcccc", "qfffqqqq"]
    assert shown(line_of([filled, gap(100, 110, state=GapState.LOST)])) == ["cgffcccc", "qgffqqqq"]


def test_each_symbol_of_a_connection_is_filled_by_itself() -> None:
    lost = gap(60, 240)
    assert shown(line_of([lost], [fill(lost)])) == ["cfffcccc", "qgggqqqq"]


def test_of_a_lost_gap_only_the_part_that_is_missing_stays_a_gap() -> None:
    lost = gap(60, 360, state=GapState.LOST)
    part = fill(lost, GapState.LOST, lost_from_ns=START_NS + 130 * NS_PER_S, lost_to_ns=START_NS + 150 * NS_PER_S,
                reason="history reaches 1,000 trades back")
    line = line_of([lost], [part])
    assert shown(line)[0] == "cfgfffcc"
    assert line.texts[int(line.reasons[0, 2])] == "connection lost; history reaches 1,000 trades back"
    assert shown(line_of([lost], [replace(part, lost_from_ns=0, lost_to_ns=0)]))[0] == "cgggggcc"


def test_a_fill_of_a_gap_that_has_grown_since_counts_for_nothing() -> None:
    grown = gap(60, 240)
    assert shown(line_of([grown], [fill(replace(grown, to_ns=grown.to_ns - 1))]))[0] == "cgggcccc"
    assert shown(line_of([grown], [fill(grown, GapState.OPEN)]))[0] == "cgggcccc"


def test_before_it_was_watched_a_symbol_is_unread_except_where_a_gap_is_open_or_lost() -> None:
    watches = [watched(90, "AUSDT"), watched(250, "AUSDT", "BUSDT")]
    assert shown(line_of([gap(130, 140), gap(310, 311)], watches=watches, trades="00111111")) == ["uugccgcc", "uuguugqq"]
    assert shown(line_of([gap(130, 140, state=GapState.FILLED)], watches=watches, trades="00111111")) == ["uufccccc", "uuuuuqqq"]


def test_a_gap_stays_a_gap_where_the_record_of_what_was_watched_is_lost() -> None:
    for state in (GapState.OPEN, GapState.LOST):
        for watches in ([], [watched(300, *SYMBOLS)]):
            assert shown(line_of([gap(70, 80, state=state)], watches=watches, trades="00011111"))[0][:4] == "uguu"


def test_reasons_that_name_ids_are_one_reason() -> None:
    jumps = [gap(60 * n, 60 * n + 1, symbol="AUSDT", first_id=10 * n, last_id=10 * n + 1,
                 reason=f"ids jump from {10 * n - 1} to {10 * n + 2}") for n in range(1, 7)]
    assert line_of(jumps).texts == ["", "ids jump"]


def test_fills_of_a_gap_that_say_the_same_are_marked_together() -> None:
    lost = gap(60, 240)
    fills = [fill(lost, symbol=SYMBOLS[0]), fill(lost, GapState.LOST, SYMBOLS[1], reason="too old")]
    line = line_of([lost], fills)
    assert shown(line) == ["cfffcccc", "qgggqqqq"]
    assert line.texts[int(line.reasons[1, 1])] == "connection lost; too old"
    assert shown(line_of([lost], [fill(lost, symbol=symbol) for symbol in SYMBOLS])) == ["cfffcccc", "qfffqqqq"]


def test_where_it_is_not_watched_any_more_only_gaps_are_claimed() -> None:
    watches = [watched(-100, *SYMBOLS), watched(100, "AUSDT"), watched(290, *SYMBOLS)]
    assert shown(line_of([gap(180, 185)], watches=watches)) == ["cccgcccc", "quuguqqq"]


def test_without_a_record_of_it_a_symbol_is_watched_after_the_minute_of_its_first_trade() -> None:
    assert shown(line_of(watches=[], trades="00110011")) == ["uuucqqcc", "uuuuuuuu"]
    assert shown(line_of(watches=[watched(180, *SYMBOLS)], trades="01110111")) == ["uuccqccc", "uuuqqqqq"]


def test_runs_join_minutes_of_one_state_with_their_reason_and_trades() -> None:
    runs = list(line_of([gap(60, 180, symbol="AUSDT")], trades="11114444").runs(0))
    assert [(run.first - FIRST, run.end - FIRST, run.state, run.reason, run.trades) for run in runs] == [
        (0, 1, State.COMPLETE, "", 1), (1, 3, State.GAP, "connection lost", 2), (3, 8, State.COMPLETE, "", 17)]
    assert sum(line_of().counts().values()) == 16


def test_a_filled_minute_of_which_another_collector_read_a_part_is_not_claimed() -> None:
    left = [ALL, watched(70, "BUSDT"), watched(250, *SYMBOLS)]
    taken = gap(215, 245, symbol="AUSDT", state=GapState.FILLED)  # the other one had everything until then
    assert shown(line_of([taken], watches=left))[0] == "cuuufccc"
    relisted = gap(69, 245, symbol="AUSDT", state=GapState.FILLED)
    assert shown(line_of([relisted], watches=left))[0] == "cffffccc"
