"""Trades that certainly came before are found by column, and no other is taken for one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumpwatch.model import NO_SEQUENCE, TradeBatch
from pumpwatch.pipeline.certain_repeats import CertainRepeats

TRADES = st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(0, 2)), max_size=30), max_size=10)


def batch(rows: list[tuple[int, int, int]], texts: list[bytes] | None = None, received: list[int] | None = None) -> TradeBatch:
    """Rows are (instrument, id, time)."""
    instrument, ids, times = (np.array([row[at] for row in rows], np.int64) for at in range(3))
    ones, count = np.ones(len(rows)), len(rows)
    return TradeBatch(times, instrument.astype(np.int32), ones, ones, np.zeros(count, np.uint8), ids, np.full(count, NO_SEQUENCE),
                      times if received is None else np.array(received, np.int64), np.zeros(count, np.uint8),
                      None if texts is None else np.array(texts))


def found(table: CertainRepeats, rows: list[tuple[int, int, int]], texts: list[bytes] | None = None) -> list[bool]:
    repeats = table.find(batch(rows, texts), np.ones(len(rows), np.bool_))
    return [False] * len(rows) if repeats is None else repeats.rows.tolist()


@settings(max_examples=25)
@given(TRADES)
def test_a_row_is_found_if_the_same_instrument_id_and_time_came_before(script):
    table, came = CertainRepeats(), set()
    for rows in script:
        rows, expected = [(instrument, number, number) for instrument, number, _ in rows], []
        for row in rows:
            expected.append(row in came)
            came.add(row)
        assert found(table, rows) == expected


@settings(max_examples=25)
@given(TRADES)
def test_where_slots_are_scarce_repetitions_are_missed_and_nothing_new_is_taken_for_one(script):
    table, came = CertainRepeats(slot_bits=2), set()
    for rows in script:
        for row, repeated in zip(rows, found(table, rows), strict=True):
            assert row in came or not repeated
            came.add(row)


def test_texts_are_compared_whatever_the_width_of_their_column():
    table = CertainRepeats()
    assert found(table, [(0, -1, 5), (0, -1, 5)], [b"aaaaaaaaaaaa", b"b"]) == [False, False]
    assert found(table, [(0, -1, 5), (1, -1, 5), (0, -1, 6)], [b"b", b"b", b"b"]) == [True, False, False]
    assert found(table, [(0, -1, 5), (0, -1, 5)], [b"x" * 200, b"aaaaaaaaaaaa"]) == [False, False]  # too wide a column
    assert found(table, [(0, 7, 5), (0, -1, 5)], [b"", b"aaaaaaaaaaaa"]) == [False, True]
    assert found(table, [(0, 7, 5)]) == [True]


def test_rows_that_are_not_compared_are_neither_found_nor_remembered():
    table = CertainRepeats()
    assert table.find(batch([(0, 1, 1), (0, 1, 1)]), np.array([False, False])) is None
    assert found(table, [(0, 1, 1)]) == [False]


@pytest.mark.parametrize("together", [True, False])
def test_the_connection_that_came_first_and_its_lead_are_known(together):
    table, trades = CertainRepeats(), [(0, number, number) for number in range(1, 9)]
    first, second = batch(trades, received=[100] * 8), batch(trades, received=[130] * 8)
    sources = np.full(8, 11), np.full(8, 22)
    if together:
        repeats = table.find(TradeBatch.concat([first, second]), np.ones(16, np.bool_), np.concatenate(sources))
    else:
        assert table.find(first, np.ones(8, np.bool_), sources[0]) is None
        repeats = table.find(second, np.ones(8, np.bool_), sources[1])
    assert repeats is not None and repeats.rows.sum() == 8 and set(repeats.races) == {(0, 11, 22, 30)}


def test_a_repetition_on_the_same_connection_is_no_race():
    table, trades = CertainRepeats(), [(0, 1, 1), (0, 1, 1)]
    repeats = table.find(batch(trades), np.ones(2, np.bool_), np.full(2, 11))
    assert repeats is not None and repeats.rows.tolist() == [False, True] and not repeats.races
