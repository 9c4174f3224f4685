"""Ids that ascend and skip: what comes again, and what comes late."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.pipeline.ascending import AscendingIds


def seen(*ids: int, rows_kept: int = 1000, floor: int = -1) -> AscendingIds:
    recent = AscendingIds(rows_kept)
    recent.grow(np.array([floor, floor]))
    for one in ids:
        recent.remember(np.array([0], np.int32), np.array([one]))
    return recent


def test_what_was_seen_is_a_repetition_and_what_was_skipped_is_late():
    assert seen(10, 12, 15).fresh(0, 15, [10, 11, 12, 12, 15, 16]) == [False, True, False, False, False, True]


def test_the_same_number_of_another_instrument_is_another_trade():
    assert seen(10).fresh(1, 20, [10]) == [True]


def test_what_an_earlier_run_stored_is_a_repetition():
    assert seen(floor=100).fresh(0, 100, [99, 100, 101]) == [False, False, True]


def test_what_is_older_than_the_memory_is_a_repetition():
    assert seen(*range(100), rows_kept=10).fresh(0, 99, [3, 89, 95]) == [False, False, False]


def test_an_id_within_a_batch_counts_once():
    assert seen().fresh(0, -1, [5, 3, 5, 3]) == [True, True, False, False]


def test_ids_that_are_text_are_not_told_apart_here():
    assert seen().fresh(0, -1, [-1, -1]) == [True, True]


@given(st.lists(st.integers(0, 60), max_size=200))
def test_each_id_is_new_exactly_once_in_whatever_order_it_comes(ids: list[int]):
    recent, last, got = seen(), -1, []
    for one in ids:
        got += [one for new in recent.fresh(0, last, [one]) if new]
        recent.remember(np.array([0], np.int32), np.array([one]))
        last = max(last, one)
    assert sorted(got) == sorted(set(ids))
