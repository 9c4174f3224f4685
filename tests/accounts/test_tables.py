"""Records become rows and come back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pumpwatch.accounts import tables
from pumpwatch.accounts.records import Event, HeldPosition, Order, Payload, Position, Progress, builtins
from pumpwatch.accounts.refusals import DamagedLedgerError
from tests.accounts.ledgers import FUTURES, order

D = Decimal


def test_an_order_and_a_position_come_back() -> None:
    wanted = order(venue=FUTURES, reduce_only=True, leverage=D(3), kind="stop_limit", stop_price=D("1e-7"))
    placed = Order(account_id="acc", placed=wanted,
                   progress=Progress(state="open", filled=D("0.000000000000000001"), locked_asset="USDT", reason="none"))
    row = tables.order_row(placed)
    assert tables.order_of(tuple(row)) == placed and "0.0000001" in row
    assert not any(isinstance(value, bool) for value in row), "PostgreSQL takes no truth for a number"
    position = Position(venue=FUTURES, symbol="X", quantity=D(3), liquidation_price=None)
    assert tables.position_of(tuple(tables.position_row("acc", position))) == position


@pytest.mark.parametrize("value", ["many", "NaN", "", None, "1e999999999"])
def test_a_stored_amount_that_is_none_is_damage(value: Any) -> None:
    with pytest.raises(DamagedLedgerError, match="is stored as an amount"):
        tables.exact(value)


@pytest.mark.parametrize("payload", ["{", b"\xff", "[]", '{"entries": [["account", "USDT", "x"]]}', None])
def test_a_payload_that_cannot_be_read_is_damage(payload: Any) -> None:
    with pytest.raises(DamagedLedgerError, match="event 7"):
        tables.event_of((7, "acc", 1, "kind", 1, 1, payload))


def test_an_event_comes_back() -> None:
    event = Event(aggregate_id="acc", version=2, kind="order_placed", at_ns=5, position=1,
                  payload=Payload(placed=order(), order_id="o1", progress=Progress(state="open", locked=D("1e-18"))))
    assert tables.event_of((1, *tables.event_row(event))) == event


def test_columns_are_told_by_name() -> None:
    assert tables.insert("users") == "INSERT INTO users (user_id, name, created_at_ns) VALUES (?, ?, ?)"
    assert tables.replace_by("balances", 2).endswith("ON CONFLICT (account_id, asset) DO UPDATE SET balance = excluded.balance,"
                                                     " available = excluded.available, locked = excluded.locked")


def test_json_has_amounts_without_an_exponent() -> None:
    found = builtins(HeldPosition(account_id="acc", position=Position(venue=FUTURES, symbol="X", quantity=D("1e-7"))))
    assert found["position"]["quantity"] == "0.0000001"
