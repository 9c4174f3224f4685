"""Recent ids: what comes again, what comes late, and how much is remembered."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.pipeline.recent_ids import AscendingIds, UnorderedIds


def seen(*ids: int, rows_kept: int = 1000, floor: int = -1) -> AscendingIds:
    recent = AscendingIds(rows_kept)
    recent.grow(np.array([floor, floor]))
    for one in ids:
        recent.remember(np.array([0], np.int32), np.array([one]))
    return recent


def new(recent: AscendingIds, number: int, ids: list[int]) -> list[bool]:
    return [recent.is_new(number, one, recent.known({number: min(ids)}).get(number, set())) for one in ids]


def test_what_was_seen_is_a_repetition_and_what_was_skipped_is_late():
    assert new(seen(10, 12, 15), 0, [10, 11, 12, 15]) == [False, True, False, False]


def test_the_same_number_of_another_instrument_is_another_trade():
    assert new(seen(10), 1, [10]) == [True]


def test_what_an_earlier_run_stored_is_a_repetition():
    assert new(seen(floor=100), 0, [99, 100, 101]) == [False, False, True]


def test_what_is_older_than_the_memory_is_a_repetition():
    assert new(seen(*range(0, 200, 2), rows_kept=10), 0, [3, 177, 178, 181, 190]) == [False, False, False, True, False]


def test_a_batch_larger_than_the_memory_leaves_its_newest_rows():
    recent = seen(1, 3, rows_kept=4)
    recent.remember(np.zeros(6, np.int32), np.arange(10, 22, 2))
    assert new(recent, 0, [3, 11, 12, 13, 15, 16, 20]) == [False, False, False, True, True, False, False]


def test_an_instrument_that_starts_anew_is_forgotten_and_the_others_are_not():
    recent = seen(10, 12, floor=5)
    recent.remember(np.array([1], np.int32), np.array([7]))
    recent.restart(0)
    assert new(recent, 0, [1, 10]) == [True, True] and new(recent, 1, [7]) == [False]


def test_only_what_lies_at_or_above_the_lowest_id_asked_for_is_looked_up():
    recent = seen(*range(0, 1000, 2))
    assert recent.known({0: 990, 1: 0}) == {0: {990, 992, 994, 996, 998}, 1: set()}


@given(st.lists(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 60)), max_size=7), max_size=60), st.integers(1, 20))
def test_no_id_is_ever_taken_twice_however_little_is_kept(batches: list[list[tuple[int, int]]], rows_kept: int):
    recent, got = seen(rows_kept=rows_kept), []
    for rows in batches:
        known = recent.known({0: 0, 1: 0})
        for number, one in rows:
            if recent.is_new(number, one, known.setdefault(number, set())):
                got.append((number, one))
                known[number].add(one)
        recent.remember(np.array([row[0] for row in rows], np.int32), np.array([row[1] for row in rows], np.int64))
    assert len(got) == len(set(got))


def test_unordered_ids_are_new_once_also_within_one_batch():
    recent = UnorderedIds()
    assert recent.fresh(["a", "b"]) is None, "all are new"
    assert recent.fresh(["b", "c", "c"]) == [False, True, False]


def test_unordered_ids_are_kept_for_one_generation_more_than_they_fill():
    recent = UnorderedIds(kept=2)
    recent.fresh(["a", "b"])
    recent.fresh(["c"])
    assert recent.fresh(["a"]) == [False]
    recent.fresh(["d"])  # the second generation is full: the first is dropped
    assert recent.fresh(["b", "c"]) == [True, False]


@given(st.lists(st.lists(st.integers(0, 30), max_size=6), max_size=40))
def test_no_unordered_id_is_new_twice_while_the_memory_holds_all(batches: list[list[int]]):
    recent, seen_ids = UnorderedIds(), []
    for keys in batches:
        fresh = recent.fresh(keys)
        seen_ids += keys if fresh is None else [key for key, new in zip(keys, fresh, strict=True) if new]
    assert sorted(seen_ids) == sorted({key for keys in batches for key in keys})
