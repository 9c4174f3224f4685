"""The newest trade of an instrument is the one of the newest time, in whatever order batches come."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.market.last_trades import AHEAD_NS, MOST_ROWS, LastTrades
from pumpwatch.model import Flag
from tests.market.market_parts import trades_at
from tests.trades import batch_of


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), max_size=8), max_size=5), st.booleans())
def test_it_is_the_last_one_of_the_newest_time(parts: list[list[tuple[int, int]]], asks_between: bool) -> None:
    noted, newest, price = LastTrades(), dict[int, tuple[int, float]](), 0.0
    for part in parts:
        for number, at in part:
            price += 1
            noted.note(trades_at((at, price, 1.0), instrument=number))
            if at >= newest.get(number, (0, 0.0))[0]:
                newest[number] = at, price
        if asks_between:
            noted.of([0])
    assert {number: last[:2] for number, last in noted.of(range(6)).items()} == newest


def test_a_batch_of_many_instruments_counts_by_time_and_is_not_kept_for_long() -> None:
    noted, batch = LastTrades(), batch_of(MOST_ROWS, instruments=50, start_ns=10**18)
    noted.note(batch.take(np.arange(len(batch))[::-1]))
    for number, last in noted.of(range(50)).items():
        row = np.flatnonzero(batch.instrument == number)[-1]
        assert (last.at_ns, last.price) == (batch.timestamp[row], batch.price[row])
    assert noted._waiting == []


def test_a_trade_outside_the_market_and_one_of_a_wrong_clock_do_not_count() -> None:
    good = trades_at((5, 1.0, 1.0))
    block = dataclasses.replace(trades_at((6, 2.0, 1.0)), flags=np.array([Flag.outside_market()], np.uint8))
    ahead = dataclasses.replace(trades_at((AHEAD_NS + 10, 3.0, 1.0)), received_at=np.array([9]))
    assert LastTrades([good, block, ahead]).of([0])[0][:2] == (5, 1.0)


def test_what_changed_is_told_once() -> None:
    noted = LastTrades([trades_at((1, 10.0, 1.0)), trades_at((2, 20.0, 1.0), instrument=3)])
    assert {number: last.price for number, last in noted.changed().items()} == {0: 10.0, 3: 20.0}
    assert noted.changed() == {}
    noted.note(trades_at((3, 30.0, 1.0), instrument=9))
    noted.note(trades_at((1, 5.0, 1.0), instrument=3))  # older
    assert {number: last.price for number, last in noted.changed().items()} == {9: 30.0}
