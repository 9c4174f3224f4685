"""Words, times and orders that cannot be are refused before anything else is asked."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from pumpwatch.accounts.intake import checked_fill, checked_money, checked_order, time_ns, word
from pumpwatch.accounts.refusals import InvalidValue
from tests.accounts.ledgers import FUTURES, fill, order

D = Decimal


@pytest.mark.parametrize(("facts", "said"), [
    ({"order_id": ""}, "order_id is empty"), ({"symbol": "a\0b"}, "not printable"), ({"venue": "x" * 201}, "longer than 200"),
    ({"symbol": "\ud800"}, "not printable"), ({"venue": None}, "is not text"), ({"side": "hold"}, "side: 'hold'"),
    ({"kind": "iceberg"}, "known: market, limit, stop_limit"), ({"time_in_force": "gtd"}, "time_in_force"),
    ({"margin_type": "both"}, "margin_type"), ({"quantity": D(0)}, "quantity: 0 is not above zero"),
    ({"quantity": D("NaN")}, "quantity: NaN"), ({"quantity": D(-1)}, "quantity: -1"), ({"quantity": D(10) ** 30}, "quantity: "),
    ({"quantity": 1.0}, "not a Decimal"), ({"price": None}, "a limit order needs one"), ({"price": D("1e-19")}, "price: "),
    ({"stop_price": D(1)}, "a limit order has none"), ({"kind": "stop_limit"}, "a stop_limit order needs one"),
    ({"kind": "stop_limit", "stop_price": D(1), "time_in_force": "ioc"}, "must be gtc"), ({"at_ns": -1}, "at_ns"),
    ({"at_ns": 2**63}, "at_ns"),
    ({"leverage": D(2)}, "a spot order has no leverage"), ({"reduce_only": True}, "a spot purchase cannot be reduce only"),
    ({"venue": FUTURES, "leverage": D("0.5")}, "leverage: 0.5"), ({"venue": FUTURES, "leverage": D(1001)}, "leverage: 1001"),
    ({"maintenance_rate": D(1)}, "maintenance_rate"), ({"fee_reserve": D(-1)}, "fee_reserve"), ({"base": "\n"}, "base: "),
])
def test_an_order_that_cannot_be_is_refused(facts: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        checked_order(replace(order(), **facts))


def test_an_order_keeps_its_facts_and_its_amounts_get_one_spelling() -> None:
    found = checked_order(order(quantity="10.50", price="2.000", fee_reserve=D("0.10")))
    assert found == order(quantity="10.5", price="2", fee_reserve=D("0.1")) and str(found.quantity) == "10.5"


@pytest.mark.parametrize("facts", [{"fill_id": ""}, {"liquidity": "both"}, {"price": D(0)}, {"quantity": D(-1)},
                                   {"fee": D("NaN")}, {"at_ns": True}])
def test_a_fill_that_cannot_be_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        checked_fill(replace(fill(), **facts))


def test_words_times_and_money() -> None:
    assert (word("", "reason", empty=True), word("too late ✓", "reason"), time_ns(0)) == ("", "too late ✓", 0)
    assert checked_fill(fill(fee="-0.10")).fee == D("-0.1") and checked_money(D(-5)) == -5
    with pytest.raises(InvalidValue, match="moves nothing"):
        checked_money(D(0))
