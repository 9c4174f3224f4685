"""A tape is columns in the order of time, of usable trades alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pumpwatch.model import Flag, TradeBatch
from pumpwatch.paper.tape import make_tape
from tests.paper.tapes import BUYS, FUTURES, LISTING, SPOT, T0, ms, tape


def batch(*rows: tuple[int, int, float, float, int]) -> TradeBatch:
    """Return trades of (ns, instrument, price, quantity, flags)."""
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    count = len(rows)
    return TradeBatch(columns[0].astype(np.int64), columns[1].astype(np.int32), columns[2].astype(float),
                      columns[3].astype(float), np.zeros(count, np.uint8), np.arange(count), np.zeros(count, np.int64),
                      columns[0].astype(np.int64), columns[4].astype(np.uint8))


def test_rows_are_ordered_and_those_that_are_no_trades_left_out() -> None:
    nan = float("nan")
    found = make_tape(LISTING, (FUTURES, SPOT), (7, 3), batch(
        (T0 + 2, 3, 1.0, 1.0, 0), (T0 + 1, 7, 2.0, 1.0, 0), (T0 + 1, 3, 3.0, 1.0, 0), (T0 + 1, 5, 9.0, 1.0, 0),
        (T0 + 1, 3, nan, 1.0, 0), (T0 + 1, 3, 1.0, -1.0, 0), (T0 + 1, 3, float("inf"), 1.0, 0), (T0 + 9, 3, 1.0, 1.0, 0)), T0 + 5)
    assert found.timestamp.tolist() == [T0 + 1, T0 + 1, T0 + 2]
    assert (found.market.tolist(), found.price.tolist()) == ([0, 1, 1], [2.0, 3.0, 1.0])


def test_orders_meet_no_trade_that_was_made_outside_of_the_book() -> None:
    found = make_tape(LISTING, (SPOT,), (0,), batch((T0 + 1, 0, 1.0, 1.0, 0), (T0 + 2, 0, 2.0, 1.0, Flag.BLOCK),
                                                     (T0 + 3, 0, 3.0, 1.0, Flag.ADL),
                                                     (T0 + 4, 0, 4.0, 1.0, Flag.BACKFILLED)), T0 + 5)
    assert found.of(0).price.tolist() == [1.0, 4.0]
    assert len(found) == 4


def test_the_last_price_is_that_of_a_trade_up_to_then() -> None:
    trades = tape([(10, 1.0, 1, BUYS), (20, 2.0, 1, BUYS)]).of(0)
    assert [trades.last_price(ms(at)) for at in (9, 10, 19, 20, 99)] == [None, 1.0, 1.0, 2.0, 2.0]


def test_delays_count_from_the_trigger_and_where_that_is_not_known_from_the_detection() -> None:
    found = tape([(0, 1.0, 1, BUYS)])
    for triggered, at in ((T0 + 5, T0 + 5), (T0 + 10**15, T0), (T0 - 1, T0)):
        listing = replace(LISTING, triggered_at_ns=triggered)
        assert replace(found, listing=listing).triggered_at_ns == at


def test_another_content_has_another_identity() -> None:
    def identity(price: float, symbol: str = "KITEUSDT") -> str:
        return make_tape(LISTING, (replace(SPOT, symbol=symbol),), (0,), batch((T0, 0, price, 1.0, 0)), T0 + 5).identity

    assert identity(1.0) == identity(1.0)
    assert len({identity(1.0), identity(2.0), identity(1.0, "KITEUSDC")}) == 3
