"""The account of a replay: balance, margin, liquidation."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pumpwatch.paper.account import PaperAccount
from tests.paper.tapes import FUTURES, SPOT

D = Decimal


def account() -> PaperAccount:
    return PaperAccount(D(1000), (SPOT, FUTURES))


def test_spot_pays_in_full_and_is_sold_for_what_it_brings() -> None:
    found = account()
    assert found.fill(0, 1, D(2), D(100), 1, taker=True) == D("0.2")
    assert (found.cash, found.positions[0].quantity, found.positions[0].entry) == (D("799.8"), D(100), D(2))
    found.fill(0, -1, D(3), D(40), 1, taker=False)
    assert (found.cash, found.positions[0].quantity) == (D("919.68"), D(60))


def test_a_futures_position_locks_its_margin_and_gives_it_back_with_what_it_won() -> None:
    found = account()
    found.fill(1, -1, D(10), D(50), 5, taker=True)  # short 500 with a margin of 100
    assert (found.cash, found.positions[1].margin) == (D("899.75"), D(100))
    found.fill(1, 1, D(9), D(25), 5, taker=True)
    assert found.cash == D("899.75") + 50 + 25 - D("0.1125")
    assert (found.positions[1].quantity, found.positions[1].margin, found.positions[1].entry) == (D(-25), D(50), D(10))


def test_a_mean_price_that_is_rounded_rounds_no_money() -> None:
    found = account()
    found.fill(1, -1, D("4.1e-8"), D(3 * 10**9), 1, taker=True)
    found.fill(1, -1, D("4.3e-8"), D(4 * 10**9), 1, taker=True)
    fees = 1000 - found.cash - found.positions[1].margin
    for part in (10**9, 6 * 10**9):
        fees += found.fill(1, 1, D("4.2e-8"), D(part), 1, taker=True)
    assert found.cash == 1000 - fees + D(123 + 172 - 294)


def test_an_order_beyond_zero_closes_and_opens() -> None:
    found = account()
    found.fill(1, 1, D(10), D(10), 2, taker=True)
    found.fill(1, -1, D(12), D(15), 2, taker=True)
    assert (found.positions[1].quantity, found.positions[1].entry, found.positions[1].margin) == (D(-5), D(12), D(30))
    assert found.cash == 1000 - D("0.05") - D("0.09") + 20 - 30


@pytest.mark.parametrize(("sign", "mark"), [(1, 8.0 / 0.99), (-1, 12.0 / 1.01)])
def test_a_position_is_liquidated_where_the_maintenance_margin_is_left_and_loses_its_margin(sign: int, mark: float) -> None:
    found = account()
    found.fill(1, sign, D(10), D(50), 5, taker=True)
    limits = found.positions[1].low, found.positions[1].high
    assert mark in [pytest.approx(limit) for limit in limits]
    quantity, price = found.liquidate(1)
    assert (quantity, price) == (D(50 * sign), D(10 - 2 * sign))
    assert (found.cash, found.positions[1].quantity) == (D("899.75"), D(0))


def test_what_can_be_paid_is_bounded_by_the_free_balance_or_by_what_is_held() -> None:
    found = account()
    assert found.affordable(0, 1, D(2), 1, D("200.20000001")) == 100
    assert found.affordable(0, -1, D(2), 1, D(200)) == 0
    assert found.affordable(1, 1, D(2), 10, D("10.05000001")) == 50
    found.fill(1, 1, D(2), D(50), 10, taker=True)
    assert found.affordable(1, -1, D(2), 10, D("10.05000001")) == 100
    assert found.affordable(1, 1, D(2), 10, D(-1)) == 0
