"""Figures of trades by minute: they add up whatever the order, and a checksum sees a trade that is another."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.model import Flag, TradeBatch
from pumpwatch.store.minutes import MINUTE_NS, FlaggedSum, Minutes, checksums, joined, minutes_of, sums_by_flags
from tests.trades import batch_of

START_NS = 29_900_000 * MINUTE_NS


def rows_of(minutes: Minutes) -> list[tuple[object, ...]]:
    return [(row[0], row[1], row[2], row[3], row[4], round(row[5], 6), row[6]) for row in zip(
        minutes.instrument.tolist(), minutes.minute.tolist(), minutes.trades.tolist(), minutes.outside.tolist(),
        minutes.joined.tolist(), minutes.volume.tolist(), minutes.checksum.tolist(), strict=True)]


@given(st.lists(st.integers(1, 399), max_size=6), st.randoms())
def test_parts_in_any_order_give_the_figures_of_the_whole(cuts: list[int], random) -> None:
    batch = batch_of(400, start_ns=START_NS, step_ns=MINUTE_NS // 90)
    bounds = [0, *sorted(set(cuts)), 400]
    parts = [minutes_of(batch.take(slice(first, last))) for first, last in pairwise(bounds)]
    random.shuffle(parts)
    assert rows_of(joined(parts)) == rows_of(minutes_of(batch))


def test_trades_are_summed_by_their_flags() -> None:
    batch = batch_of(6, start_ns=START_NS)
    batch = replace(batch, flags=np.array([0, 1, 0, 1, 3, 0], np.uint8), quantity=np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]))
    assert sums_by_flags(batch) == [FlaggedSum(0, 3, 37.0), FlaggedSum(1, 2, 10.0), FlaggedSum(3, 1, 16.0)]
    assert sums_by_flags(TradeBatch.empty()) == []


def test_each_minute_of_an_instrument_has_its_trades_and_volume() -> None:
    batch = batch_of(300, start_ns=START_NS, step_ns=MINUTE_NS // 100, instruments=3)
    minutes = minutes_of(batch)
    assert int(minutes.trades.sum()) == 300
    for instrument, minute, trades, volume in zip(minutes.instrument, minutes.minute, minutes.trades, minutes.volume,
                                                  strict=True):
        rows = (batch.instrument == instrument) & (batch.timestamp // MINUTE_NS == minute)
        assert trades == rows.sum() and np.isclose(volume, batch.quantity[rows].sum())
    assert (np.diff(minutes.keys()) > 0).all()


def test_rows_that_no_order_matched_count_and_have_no_volume() -> None:
    batch = replace(batch_of(3, start_ns=START_NS, instruments=1), flags=np.array([0, Flag.ADL, Flag.AGGREGATED], np.uint8))
    minutes = minutes_of(batch)
    assert (minutes.trades[0], minutes.outside[0], minutes.joined[0]) == (3, 1, 1)
    assert np.isclose(minutes.volume[0], batch.quantity[[0, 2]].sum())


def test_a_checksum_changes_with_time_id_price_and_quantity() -> None:
    batch = batch_of(1, start_ns=START_NS, first_id=7)
    first = int(checksums(batch)[0])
    for other in (replace(batch, timestamp=batch.timestamp + 1), replace(batch, trade_id=batch.trade_id + 1),
                  replace(batch, price=batch.price + 0.01), replace(batch, quantity=batch.quantity + 0.01)):
        assert int(checksums(other)[0]) != first


def test_an_id_of_digits_counts_as_its_number_and_another_text_as_nothing() -> None:
    batch = batch_of(4, start_ns=START_NS)
    batch = replace(batch, trade_id=np.array([0, 0, 0, 5]), text_id=np.array([b"007", b"a-7", b"9" * 30, b""]))
    numbers = replace(batch, trade_id=np.array([7, 0, 0, 5]), text_id=None)
    assert checksums(batch).tolist() == checksums(numbers).tolist()


def test_prices_beyond_64_bits_and_no_trades_at_all_are_counted() -> None:
    batch = batch_of(1, start_ns=START_NS)
    assert len(checksums(replace(batch, price=np.array([1e300])))) == 1
    assert len(minutes_of(TradeBatch.empty())) == 0 and len(joined([])) == 0
