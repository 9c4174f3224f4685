"""Trades of a history beside stored ones: each is stored once, and contradictions are seen."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.model import TradeBatch
from pumpwatch.pipeline.admission import compare_by_content, compare_by_id
from tests.pipeline.history_rows import rows


def unseen(batch: TradeBatch) -> np.ndarray:
    return np.zeros(len(batch), bool)


def test_a_trade_that_is_stored_is_not_new():
    history = rows((1, 5.0), (2, 5.0), (3, 5.0))
    found = compare_by_id(history, rows((2, 5.0)), unseen(history))
    assert found.new.tolist() == [True, False, True] and found.stored == 1 and not found.conflicts


def test_a_trade_that_was_seen_and_is_not_stored_is_unsure():
    history = rows((1, 5.0), (2, 5.0))
    found = compare_by_id(history, TradeBatch.empty(), np.array([True, False]))
    assert found.unsure.tolist() == [True, False] and found.new.tolist() == [False, True]


def test_a_history_that_repeats_a_trade_has_it_once():
    history = rows((1, 5.0), (1, 5.0), (2, 5.0))
    assert compare_by_id(history, TradeBatch.empty(), unseen(history)).new.tolist() == [True, False, True]


def test_another_price_under_a_stored_id_is_a_conflict_and_not_a_trade():
    history = rows((1, 5.0), (2, 6.0))
    found = compare_by_id(history, rows((1, 5.0), (2, 5.0)), unseen(history))
    assert found.conflicts == [(1, 1)] and not found.new.any()


def test_a_price_that_was_scaled_otherwise_is_no_contradiction():
    history = rows((1, 0.1 + 0.2))
    assert compare_by_id(history, rows((1, 0.3)), unseen(history)).conflicts == []


def test_texts_tell_trades_apart_as_numbers_do():
    history = rows((10, 1.0), (20, 1.0), texts=[b"aa", b"bb"])
    found = compare_by_id(history, rows((20, 1.0), texts=[b"bb"]), unseen(history))
    assert found.new.tolist() == [True, False]


def content(history: TradeBatch, stored: TradeBatch, seen: list[int] | None = None):
    return compare_by_content(history, stored, seen or [0] * len(history))


def test_of_equal_trades_without_ids_those_beyond_the_stored_ones_are_new():
    history = rows((10, 1.0), (10, 1.0), (10, 1.0), texts=[b"b"] * 3)
    found = content(history, rows((10, 1.0), texts=[b"b"]))
    assert found.new.tolist() == [False, True, True]
    assert found.batch.text_id.tolist() == [b"b", b"b#1", b"b#2"]


def test_a_number_that_is_free_is_used_first():
    history = rows((10, 1.0), (10, 1.0), (10, 1.0), texts=[b"b"] * 3)
    found = content(history, rows((10, 1.0), (10, 1.0), texts=[b"b", b"b#2"]))
    assert found.new.tolist() == [False, False, True] and found.batch.text_id[2] == b"b#1"


def test_equal_trades_of_another_moment_are_others():
    found = content(rows((10, 1.0), texts=[b"b"]), rows((11, 1.0), texts=[b"b"]))
    assert found.new.all() and found.batch.text_id.tolist() == [b"b"]


def test_equal_trades_that_were_seen_and_are_not_stored_are_unsure():
    history = rows((10, 1.0), (10, 1.0), texts=[b"b"] * 2)
    found = content(history, TradeBatch.empty(), [1, 1])
    assert found.unsure.tolist() == [True, False] and found.new.tolist() == [False, True]


MOMENTS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from([b"b", b"s"])), max_size=12)


@given(MOMENTS, MOMENTS)
def test_together_they_are_as_often_there_as_where_they_are_most_often(history, stored):
    """The store and the history name each trade as often as they have it; together they hold the larger number."""
    numbered: list[bytes] = []
    for place, (at, text) in enumerate(stored):
        before = stored[:place].count((at, text))
        numbered.append(text + (b"#%d" % before if before else b""))
    there = rows(*((at, 1.0) for at, _ in stored), texts=numbered)
    asked = sorted(history)
    found = content(rows(*((at, 1.0) for at, _ in asked), texts=[text for _, text in asked]), there)
    new = found.batch.take(found.new)
    names = list(zip(there.timestamp.tolist(), numbered, strict=True)) + list(
        zip(new.timestamp.tolist(), [] if new.text_id is None else new.text_id.tolist(), strict=True))
    assert len(set(names)) == len(names)
    for key in {*history, *stored}:
        total = sum((at, name.partition(b"#")[0]) == key for at, name in names)
        assert total == max(history.count(key), stored.count(key))
