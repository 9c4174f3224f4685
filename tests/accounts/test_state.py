"""An account in memory follows its events."""

from __future__ import annotations

from decimal import Decimal

from pumpwatch.accounts.records import ACCOUNT, WORLD, Entry, Event, Opened, Payload, Progress
from pumpwatch.accounts.state import AccountState
from tests.accounts.ledgers import order

D = Decimal


def step(state: AccountState, payload: Payload) -> None:
    event = Event(aggregate_id="acc", version=state.version + 1, kind="any", at_ns=1, payload=payload)
    state.apply(event, state.after(payload))


def test_balances_and_locks_follow_from_entries_and_orders() -> None:
    state = AccountState("acc", Opened(user_id="u", asset="USDT"), 1)
    step(state, Payload(entries=(Entry(ACCOUNT, "USDT", D(50)), Entry(WORLD, "USDT", D(-50)))))
    step(state, Payload(placed=order(), order_id="o1", progress=Progress(state="open", locked_asset="USDT", locked=D(20))))
    assert state.held("USDT") == (50, 20) and state.held("SOMI") == (0, 0)
    wanted = Payload(order_id="o1", progress=Progress(state="cancelled", locked_asset="USDT"))
    assert state.after(wanted) == {"USDT": (50, 0)} and state.held("USDT") == (50, 20), "a look changes nothing"
    step(state, wanted)
    assert (state.orders["o1"].progress.state, state.version, state.stored_version) == ("cancelled", 3, 0)


def test_what_is_stored_is_touched_no_more() -> None:
    state = AccountState("acc", Opened(user_id="u", asset="USDT"), 1)
    step(state, Payload(placed=order(), order_id="o1", progress=Progress(state="open")))
    assert list(state.new_orders) == ["o1"] and list(state.touched_balances) == ["USDT"]
    state.is_stored()
    step(state, Payload(order_id="o1", progress=Progress(state="filled")))
    assert (list(state.new_orders), list(state.touched_orders), state.stored_version) == ([], ["o1"], 1)
