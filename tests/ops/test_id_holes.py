"""A missing id is explained by a gap that names it or its time; by nothing else."""

from __future__ import annotations

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Gap, GapState
from pumpwatch.ops.id_holes import NamedGaps
from pumpwatch.records import GapFill
from pumpwatch.store.id_runs import MissingIds
from tests.ops.minute_folder import START_NS, gap

MISSING = MissingIds(0, 100, 109, START_NS + 100 * NS_PER_S, START_NS + 110 * NS_PER_S)


def unexplained(*gaps: Gap, fills: tuple[GapFill, ...] = (), skips_ids: bool = False) -> list[tuple[int, int]]:
    return NamedGaps(gaps, fills, skips_ids=skips_ids).unexplained("AUSDT", MISSING)


def test_what_no_gap_names_is_unexplained() -> None:
    assert unexplained() == [(100, 109)]
    assert unexplained(gap(0, 99), gap(111, 120), gap(0, 300, symbol="BUSDT")) == [(100, 109)]


def test_a_gap_of_its_time_explains_it() -> None:
    assert unexplained(gap(105, 106)) == unexplained(gap(0, 200, symbols=("AUSDT",))) == []
    assert unexplained(gap(105, 106, state=GapState.LOST)) == []


def uncovered(*gaps: Gap, skips_ids: bool = False) -> list[tuple[int, int]]:
    """Return the seconds of the hole that its gaps leave out."""
    parts = NamedGaps(gaps, (), skips_ids=skips_ids).uncovered("AUSDT", MISSING)
    return [((first - START_NS) // NS_PER_S, (end - START_NS) // NS_PER_S) for first, end in parts]


def test_a_gap_covers_its_own_part_of_a_hole_alone() -> None:
    assert uncovered(gap(105, 106)) == [(100, 105), (106, 110)]
    assert uncovered(gap(90, 103, state=GapState.LOST), gap(103, 108, symbols=("AUSDT",))) == [(108, 110)]
    assert uncovered(gap(0, 200)) == uncovered() == []
    assert uncovered(gap(0, 300, symbol="AUSDT", first_id=100, last_id=109), gap(105, 106)) == [], "every id is named"
    assert uncovered(gap(105, 106, state=GapState.FILLED), skips_ids=True) == []


def test_gaps_with_ids_explain_these_ids_alone() -> None:
    def ids(first: int, last: int) -> Gap:
        return gap(0, 300, symbol="AUSDT", first_id=first, last_id=last)

    assert unexplained(ids(100, 104), ids(102, 103), ids(108, 120)) == [(105, 107)]
    assert unexplained(ids(90, 200)) == []


def test_a_filled_gap_explains_nothing_where_the_history_has_every_id() -> None:
    filled = gap(0, 300, state=GapState.FILLED)
    assert unexplained(filled) == [(100, 109)]
    assert unexplained(filled, skips_ids=True) == []
    still_open = gap(0, 300)
    fill = GapFill(gap=still_open, symbol="AUSDT", state=GapState.FILLED, found=9, missing=0, by="id")
    assert unexplained(still_open, fills=(fill,)) == [(100, 109)]
    assert unexplained(still_open, fills=(fill,), skips_ids=True) == []
