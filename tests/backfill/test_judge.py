"""Evidence that proves a gap closed, and evidence that does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pumpwatch.backfill.judge import BY_ID, BY_NOTHING, BY_OVERLAP, UNKNOWN, Bounds, GapEvidence, joined, judge_ids, judge_time
from pumpwatch.model import GapState


def evidence(stored: list[int] = (), history: list[int] = (), spans: list[tuple[int, int]] = (), **facts: Any) -> GapEvidence:
    """Return evidence of ids; a trade's time is ten times its id."""
    found = GapEvidence(spans=list(spans), **facts)
    for ids, of_history in ((stored, False), (history, True)):
        if len(ids):
            found.add(np.array(ids), np.array(ids) * 10, of_history=of_history)
    return found


def test_a_jump_is_filled_once_each_of_its_ids_is_known():
    verdict = judge_ids(Bounds(0, 200), evidence([5, 6], [7, 8, 9]), 6, 9)
    assert (verdict.state, verdict.by, verdict.missing) == (GapState.FILLED, BY_ID, 0)


def test_ids_below_a_history_without_pages_are_lost_for_good_with_their_bounds():
    bounds = Bounds(0, 200, pages=False, limit="history reaches 3 trades back")
    verdict = judge_ids(bounds, evidence([5], [9, 10, 11]), 6, 10)
    assert (verdict.state, verdict.missing, verdict.reason) == (GapState.LOST, 3, "history reaches 3 trades back")
    assert (verdict.lost_from_ns, verdict.lost_to_ns) == (50, 90)


def test_ids_that_a_page_lacks_may_come_with_the_next_try():
    for bounds in (Bounds(0, 200), Bounds(0, 200, pages=False)):
        verdict = judge_ids(bounds, evidence([5], [6, 9]), 6, 9)
        assert (verdict.state, verdict.missing) == (GapState.OPEN, 2)


def test_a_history_that_ends_too_early_is_asked_again():
    assert judge_ids(Bounds(0, 200, pages=False), evidence([], [5, 6, 7]), 6, 9).state is GapState.OPEN


def test_an_answer_without_a_row_proves_nothing():
    assert judge_ids(Bounds(0, 200), evidence(), 6, 9).state is GapState.OPEN
    assert judge_time(Bounds(0, 200), evidence()).state is GapState.OPEN


def test_ids_between_rows_of_a_history_that_skips_ids_are_not_trades_once_two_answers_agree():
    bounds = Bounds(0, 200, pages=False, skips_ids=True)
    assert judge_ids(bounds, evidence([], [4, 6, 9, 11]), 5, 10).state is GapState.OPEN
    before = [(5, 5), (7, 8), (10, 10)]
    verdict = judge_ids(bounds, evidence([], [4, 6, 9, 11], skipped_before=before), 5, 10)
    assert verdict.state is GapState.FILLED and verdict.reason.startswith("4 ids are not trades")
    assert judge_ids(bounds, evidence([], [6, 9], skipped_before=before), 5, 10).missing == 2  # those outside may be trades
    verdict = judge_ids(bounds, evidence([], [4, 6, 9, 11], skipped_before=[(5, 5), (8, 8)]), 5, 10)
    assert (verdict.state, verdict.missing) == (GapState.OPEN, 3)  # the earlier answer had 7 and ended with 9


def test_a_time_is_filled_if_the_history_reaches_from_before_it_to_its_end():
    verdict = judge_time(Bounds(100, 200), evidence(spans=[(90, 200)]))
    assert (verdict.state, verdict.by) == (GapState.FILLED, BY_OVERLAP)


def test_a_history_that_begins_in_the_gap_leaves_its_beginning_lost():
    bounds = Bounds(100, 200, pages=False, limit="history reaches 60 trades back")
    verdict = judge_time(bounds, evidence(spans=[(150, 300)]))
    assert (verdict.state, verdict.missing, verdict.by) == (GapState.LOST, UNKNOWN, BY_NOTHING)
    assert (verdict.lost_from_ns, verdict.lost_to_ns) == (100, 151)  # of its oldest moment it may lack trades


def test_a_history_that_begins_exactly_with_the_gap_may_lack_trades_of_that_moment():
    assert judge_time(Bounds(100, 200, pages=False), evidence(spans=[(100, 300)])).state is GapState.LOST


def test_a_history_that_ends_in_the_gap_counts_only_if_it_was_asked_late_and_no_later_trade_is_stored():
    for pages in (True, False):
        bounds = Bounds(100, 200, pages)
        assert judge_time(bounds, evidence(spans=[(50, 120)], ended=True)).state is GapState.FILLED
        assert judge_time(bounds, evidence(spans=[(50, 120)])).state is GapState.OPEN
        assert judge_time(bounds, evidence(spans=[(50, 120)], ended=True, stored_after_ns=150)).state is GapState.OPEN


def test_a_history_that_ends_before_the_gap_counts_only_if_it_was_asked_late_and_no_later_trade_is_stored():
    bounds = Bounds(100, 200)
    assert judge_time(bounds, evidence(spans=[(50, 80)], ended=True)).state is GapState.FILLED
    assert judge_time(bounds, evidence(spans=[(50, 80)])).state is GapState.OPEN
    assert judge_time(bounds, evidence(spans=[(50, 80)], ended=True, stored_after_ns=90)).state is GapState.OPEN


def test_an_answer_that_is_not_full_and_begins_in_the_gap_may_lack_trades_that_the_next_one_has():
    bounds = Bounds(100, 200, pages=False, limit="history reaches 60 trades back")
    verdict = judge_time(bounds, evidence(spans=[(150, 300)], short=True))
    assert (verdict.state, verdict.reason) == (GapState.OPEN, "the venue's history does not reach its beginning")


def test_a_history_that_lacks_stored_trades_proves_nothing():
    verdict = judge_time(Bounds(100, 200), evidence(spans=[(50, 300)], lacking=2))
    assert verdict.state is GapState.OPEN and verdict.by == BY_NOTHING


def test_parts_that_were_read_at_different_times_count_together_where_they_overlap():
    found = evidence(spans=[(50, 120)])
    found.add_span(110, 220)
    assert judge_time(Bounds(100, 200), found).state is GapState.FILLED
    apart = evidence(spans=[(50, 120)])
    apart.add_span(130, 220)
    verdict = judge_time(Bounds(100, 200, pages=False, limit="history reaches 60 trades back"), apart)
    assert (verdict.state, verdict.lost_from_ns, verdict.lost_to_ns) == (GapState.LOST, 120, 131)
    assert judge_time(Bounds(100, 200), apart).state is GapState.OPEN


@pytest.mark.parametrize(("spans", "ended", "lost"), [
    ([(110, 120), (150, 160), (180, 300)], False, (100, 181)), ([(110, 300)], False, (100, 111)),
    ([(90, 120), (150, 160), (180, 300)], False, (120, 181)), ([(110, 120)], False, (100, 200)),
    ([(110, 120)], True, (100, 111)), ([(90, 120), (150, 160)], False, (120, 200)), ([(90, 120), (150, 160)], True, (120, 151)),
    ([(110, 120), (250, 300)], False, (100, 200))])
def test_the_bounds_of_what_is_lost_hold_every_part_that_was_not_read(spans, ended, lost):
    found = evidence(spans=spans, ended=ended)
    verdict = judge_time(Bounds(100, 200, pages=False, limit="history reaches 60 trades back"), found)
    assert (verdict.state, verdict.lost_from_ns, verdict.lost_to_ns) == (GapState.LOST, *lost)


def test_parts_that_only_touch_may_both_lack_trades_of_that_moment():
    found = evidence(spans=[(50, 120)])
    found.add_span(120, 220)
    verdict = judge_time(Bounds(100, 200, pages=False), found)
    assert (verdict.state, verdict.lost_from_ns, verdict.lost_to_ns) == (GapState.LOST, 120, 121)


def test_spans_are_joined_in_order():
    assert joined([(5, 9), (1, 3), (2, 4), (8, 12), (5, 5), (4, 4)]) == [(1, 4), (4, 4), (5, 12)]
