"""Trades that another process has stored are dropped, and no others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pumpwatch.model import TradeBatch
from pumpwatch.store.overlap import StoredOverlap
from tests.trades import batch_of

NONE = TradeBatch.empty()


def rows(ids, times, instruments=None, texts=None) -> TradeBatch:
    batch = batch_of(len(ids))
    return replace(batch, trade_id=np.array(ids), timestamp=np.array(times), text_id=None if texts is None else np.array(texts),
                   instrument=np.array(instruments or [0] * len(ids), np.int32))


def test_stored_trades_are_dropped_wherever_they_are_in_the_batch():
    overlap = StoredOverlap(rows([3, 1, 2], [30, 10, 20]))
    assert overlap.without(rows([0, 1, 2, 4, 3], [5, 10, 20, 40, 30])).trade_id.tolist() == [0, 4]
    assert overlap.dropped == 3


def test_a_trade_of_another_instrument_time_or_id_is_kept():
    overlap = StoredOverlap(rows([1, 2], [10, 10]))
    batch = rows([1, 1, 3], [10, 11, 10], [1, 0, 0])
    assert overlap.without(batch) is batch


def test_text_ids_are_compared_as_text():
    overlap = StoredOverlap(rows([-1, -1, 7], [10, 10, 10], texts=[b"a", b"a#1", b""]))
    left = overlap.without(rows([-2, -3, -4, 7], [10, 10, 10, 10], texts=[b"a", b"a#1", b"a#2", b""]))
    assert left.text_id is not None
    assert left.text_id.tolist() == [b"a#2"]


def test_numbers_and_texts_are_not_confused():
    overlap = StoredOverlap(rows([1], [10]))
    assert len(overlap.without(rows([1], [10], texts=[b"a"]))) == 1


def test_with_nothing_stored_or_nothing_received_nothing_is_dropped():
    batch = rows([1], [10])
    assert StoredOverlap(NONE).without(batch) is batch
    assert len(StoredOverlap(batch).without(NONE)) == 0


def test_many_trades_with_one_timestamp_are_distinguished():
    count = 50_000
    stored = rows(list(range(0, count, 2)), [7] * (count // 2))
    left = StoredOverlap(stored).without(rows(list(range(count)), [7] * count))
    assert left.trade_id.tolist() == list(range(1, count, 2))


def test_texts_of_another_width_are_equal_texts():
    overlap = StoredOverlap(rows([-1, -1], [10, 10], texts=[b"ab", b"a-long-text"]))
    assert len(overlap.without(rows([-5], [10], texts=[b"ab"]))) == 0
