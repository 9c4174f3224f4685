"""The words of the account ledger."""

from __future__ import annotations

from decimal import Decimal

from pumpwatch.accounts.records import OPEN_STATES, STATES, Order, Progress, is_futures
from tests.accounts.ledgers import order


def test_what_is_left_of_an_order_is_exact() -> None:
    quantity = "123456789012345678.123456789012345678"
    placed = Order(account_id="acc", placed=order(quantity=quantity), progress=Progress(state="open", filled=Decimal("1e-18")))
    assert placed.remaining == Decimal("123456789012345678.123456789012345677")


def test_states_and_markets() -> None:
    assert set(OPEN_STATES) < set(STATES) and is_futures("one.futures") and not is_futures("one.spot")
