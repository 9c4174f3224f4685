"""Each command records one event with entries that sum to zero."""

from __future__ import annotations

from decimal import Decimal

from pumpwatch.accounts import AccountLedger
from pumpwatch.accounts.decisions import sums
from pumpwatch.accounts.records import Entry, Event
from tests.accounts.ledgers import ACCOUNT, FUTURES, SYMBOL, order, traded

D = Decimal


def entries(event: Event) -> list[tuple[str, str, str]]:
    return [(entry.book, entry.asset, f"{entry.amount:f}") for entry in event.payload.entries]


def test_a_spot_fill_moves_money_and_coins(sqlite_ledger: AccountLedger) -> None:
    traded(sqlite_ledger, "o1", "buy", "10", "2", "0.1")
    assert entries(sqlite_ledger.events(ACCOUNT)[-1]) == [
        ("account", "USDT", "-20.1"), ("counterparty", "USDT", "20"), ("fees", "USDT", "0.1"), ("account", SYMBOL, "10"),
        ("counterparty", SYMBOL, "-10")]


def test_a_futures_fill_moves_the_fee_and_the_profit(sqlite_ledger: AccountLedger) -> None:
    traded(sqlite_ledger, "o1", "buy", "10", "2", "0.1", venue=FUTURES)
    traded(sqlite_ledger, "o2", "sell", "10", "3", "-0.1", venue=FUTURES)  # a rebate
    assert [entries(event) for event in sqlite_ledger.events(ACCOUNT) if event.kind == "order_filled"] == [
        [("account", "USDT", "-0.1"), ("fees", "USDT", "0.1")],
        [("account", "USDT", "10.1"), ("realised_pnl", "USDT", "-10"), ("fees", "USDT", "-0.1")]]


def test_an_order_moves_nothing(sqlite_ledger: AccountLedger) -> None:
    sqlite_ledger.place_order(ACCOUNT, order(kind="stop_limit", stop_price=D(1)))
    sqlite_ledger.trigger_order("o1", 11)
    sqlite_ledger.expire_order("o1", "", 12)
    events = sqlite_ledger.events(ACCOUNT)[2:]
    assert [event.kind for event in events] == ["order_placed", "order_triggered", "order_expired"]
    assert all(event.payload.entries == () for event in events)


def test_sums_are_by_asset_and_exact() -> None:
    tiny = D("0.000000000000000001")
    assert sums([Entry("a", "X", D("99999999999999999.5")), Entry("b", "X", tiny), Entry("b", "Y", D(-1))]) == {
        "X": D("99999999999999999.500000000000000001"), "Y": -1}
