"""Ranges of skipped ids: they shrink as late trades arrive, and are bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.pipeline.missing_ids import SkippedIds


def test_a_missing_id_is_found_once_and_splits_its_range():
    missing = SkippedIds()
    missing.open(10, 14)
    assert [missing.find(number) for number in (9, 12, 12, 15)] == [False, True, False, False]
    assert len(missing) == 2
    assert missing.holds_any(10, 11) and missing.holds_any(13, 14) and not missing.holds_any(12, 12)


def test_a_range_of_which_every_id_arrived_is_gone():
    missing = SkippedIds()
    missing.open(3, 5)
    for number in (4, 3, 5):
        missing.find(number)
    assert not missing and not missing.holds_any(0, 10)


def test_too_many_ranges_give_up_the_lowest_which_then_count_as_missing_for_ever():
    missing = SkippedIds(ranges_kept=2)
    for first in (10, 20, 30):
        missing.open(first, first + 1)
    assert missing.given_up == 11
    assert not missing.find(10), "not known any more"
    assert missing.holds_any(10, 11)
    assert missing.find(20)


def test_splitting_a_range_keeps_within_the_bound():
    missing = SkippedIds(ranges_kept=2)
    missing.open(0, 100)
    for number in (10, 20, 30, 40):
        missing.find(number)
    assert len(missing) <= 2


@given(st.sets(st.integers(0, 40)), st.lists(st.integers(0, 40)))
def test_it_agrees_with_a_set(opened: set[int], asked: list[int]):
    missing, expected = SkippedIds(), set(opened)
    for number in opened:
        missing.open(number, number)
    for number in asked:
        assert missing.find(number) == (number in expected)
        expected.discard(number)
    assert missing.holds_any(0, 40) == bool(expected)
