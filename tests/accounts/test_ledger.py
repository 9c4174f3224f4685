"""The contract of the account ledger, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.accounts import (
    AccountLedger,
    ConflictError,
    DuplicateId,
    InvalidValue,
    NewOrder,
    Overdraft,
    UnknownId,
    WrongState,
    open_account_ledger,
)
from pumpwatch.accounts.amounts import total
from tests.accounts.ledgers import (
    ACCOUNT,
    FUTURES,
    SPOT,
    SYMBOL,
    everything,
    figures,
    fill,
    fund,
    order,
    refused,
    traded,
    whole,
)

D = Decimal


def test_a_purchase_and_a_sale_on_a_spot_market(ledger: AccountLedger) -> None:
    placed = ledger.place_order(ACCOUNT, order("o1", "buy", "10", "2", fee_reserve=D("0.5")))
    assert (placed.progress.state, placed.progress.locked) == ("open", D("20.5"))
    assert figures(ledger) == (D(1000), D("979.5"), D("20.5"))
    part = ledger.fill_order("o1", fill("f1", "1.9", "4", "0.1"))
    assert (part.progress.state, part.progress.filled, part.progress.locked) == ("partly_filled", D(4), D("12.3"))
    done = ledger.fill_order("o1", fill("f2", "2", "6", "0.2"))
    assert (done.progress.state, done.progress.value, done.progress.locked) == ("filled", D("19.6"), 0)
    assert figures(ledger) == (D("980.1"), D("980.1"), D(0))
    account, = ledger.accounts()
    assert account.holdings == {SYMBOL: D(10)}
    traded(ledger, "o2", "sell", "10", "3", "0.3")
    assert figures(ledger)[0] == D("1009.8") and ledger.accounts()[0].holdings == {}
    position = ledger.positions()[0].position
    assert (position.side, position.realised_pnl, position.fees) == ("flat", D("10.4"), D("0.6"))
    assert [(found.fill_id, found.realised_pnl) for found in ledger.fills()] == [("f1", 0), ("f2", 0), ("fill-o2", D("10.4"))]
    whole(ledger)


def test_a_futures_position_from_its_opening_to_its_turn(ledger: AccountLedger) -> None:
    facts: dict[str, Any] = {"venue": FUTURES, "leverage": D(10)}
    traded(ledger, "o1", "buy", "100", "2", "0.1", **facts)
    position = ledger.positions()[0].position
    assert (position.side, position.quantity, position.cost, position.margin) == ("long", D(100), D(200), D(20))
    assert figures(ledger) == (D("999.9"), D("979.9"), D(20))
    assert position.liquidation_price == D("1.809045226130653266")  # (200 - 20) / (100 * 0.995)
    marked = ledger.mark_position(ACCOUNT, FUTURES, SYMBOL, D("2.5"), 30)
    assert (marked.unrealised_pnl, marked.mark_price) == (D(50), D("2.5")) and figures(ledger)[0] == D("999.9")
    traded(ledger, "o2", "sell", "150", "3", "0.2", **facts)
    position = ledger.positions()[0].position
    assert (position.side, position.quantity, position.entry_price, position.margin) == ("short", D(50), D(3), D(15))
    assert (position.realised_pnl, position.version) == (D(100), 3)
    assert figures(ledger) == (D("1099.7"), D("1084.7"), D(15))
    whole(ledger)


def test_reduce_only_never_opens(ledger: AccountLedger) -> None:
    reducing = order("o2", "sell", "10", "2", venue=FUTURES, reduce_only=True)
    refused(WrongState, ledger, lambda: ledger.place_order(ACCOUNT, reducing), "has no position that it would reduce")
    traded(ledger, "o1", "buy", "5", "2", venue=FUTURES)
    assert ledger.place_order(ACCOUNT, reducing).progress.locked == 0
    refused(WrongState, ledger, lambda: ledger.fill_order("o2", fill(quantity="6")), "the fill exceeds the position by 1")
    ledger.fill_order("o2", fill(quantity="5"))
    assert ledger.positions(flat=False) == []


@pytest.mark.parametrize(("margin_type", "balance", "borne"), [("isolated", "900", D(400)), ("cross", "500", D(0))])
def test_a_liquidation_costs_the_margin_and_a_cross_one_the_rest_too(
        ledger: AccountLedger, margin_type: str, balance: str, borne: Decimal) -> None:
    traded(ledger, "o1", "buy", "500", "2", venue=FUTURES, leverage=D(10), margin_type=margin_type)
    position = ledger.positions()[0].position
    assert position.liquidation_price == {"isolated": D("1.809045226130653266"), "cross": None}[margin_type]
    closed = ledger.liquidate_position(ACCOUNT, FUTURES, SYMBOL, D(1), 40)
    assert (closed.side, closed.realised_pnl) == ("flat", D(-500))
    assert figures(ledger) == (D(balance), D(balance), 0)
    event = ledger.events(ACCOUNT)[-1]
    assert sum(entry.amount for entry in event.payload.entries if entry.book == "counterparty") == -borne
    refused(WrongState, ledger, lambda: ledger.liquidate_position(ACCOUNT, FUTURES, SYMBOL, D(1), 41))
    whole(ledger)


def test_a_cross_position_never_costs_more_than_there_is(ledger: AccountLedger) -> None:
    traded(ledger, "o1", "sell", "500", "2", venue=FUTURES, leverage=D(10), margin_type="cross")
    assert ledger.positions()[0].position.liquidation_price == D("3.980099502487562189")  # (1000 + 1000) / (500 * 1.005)
    ledger.liquidate_position(ACCOUNT, FUTURES, SYMBOL, D(9), 40, fee=D(1))
    assert figures(ledger) == (0, 0, 0)
    whole(ledger)


def test_a_stop_limit_order_waits_until_it_is_triggered(ledger: AccountLedger) -> None:
    waiting = ledger.place_order(ACCOUNT, order(kind="stop_limit", stop_price=D(3)))
    assert waiting.progress.state == "waiting" and figures(ledger)[2] == D(20)
    refused(WrongState, ledger, lambda: ledger.fill_order("o1", fill()), "is waiting")
    assert ledger.trigger_order("o1", 15).progress.state == "open"
    refused(WrongState, ledger, lambda: ledger.trigger_order("o1", 16), "not waiting")


@pytest.mark.parametrize("end", ["cancel", "reject", "expire"])
def test_an_order_that_ends_unlocks_what_it_has_left(ledger: AccountLedger, end: str) -> None:
    ledger.place_order(ACCOUNT, order())
    ledger.fill_order("o1", fill(quantity="3"))
    ended = getattr(ledger, f"{end}_order")("o1", "too late", 30)
    assert (ended.progress.reason, ended.progress.locked, figures(ledger)) == ("too late", 0, (D(994), D(994), 0))
    refused(WrongState, ledger, lambda: ledger.cancel_order("o1", "", 31), "already")
    refused(WrongState, ledger, lambda: ledger.fill_order("o1", fill("f2")), "cannot be filled")
    whole(ledger)


@pytest.mark.parametrize(("kind", "command"), [
    (Overdraft, lambda ledger: ledger.transfer(ACCOUNT, D("-1000.000000000000000001"), "", 3)),
    (Overdraft, lambda ledger: ledger.place_order(ACCOUNT, order(quantity="501"))),
    (Overdraft, lambda ledger: ledger.place_order(ACCOUNT, order(side="sell"))),  # of coins that it has not
    (Overdraft, lambda ledger: ledger.place_order(ACCOUNT, order(venue=FUTURES, quantity="5001", leverage=D(10)))),
    (UnknownId, lambda ledger: ledger.transfer("nobody", D(1), "", 3)),
    (UnknownId, lambda ledger: ledger.place_order("nobody", order())),
    (UnknownId, lambda ledger: ledger.fill_order("none", fill())),
    (UnknownId, lambda ledger: ledger.open_account("nobody")),
    (DuplicateId, lambda ledger: ledger.open_account("user-1", account_id=ACCOUNT)),
    (DuplicateId, lambda ledger: ledger.open_account("user-1", account_id="user-1")),
    (WrongState, lambda ledger: ledger.mark_position(ACCOUNT, SPOT, SYMBOL, D(1), 3)),
    (InvalidValue, lambda ledger: ledger.place_order(ACCOUNT, order(price="999999999999999999", quantity="9"))),
])
def test_what_cannot_be_is_refused_and_changes_nothing(
        ledger: AccountLedger, kind: type[Any], command: Callable[[AccountLedger], object]) -> None:
    refused(kind, ledger, lambda: command(ledger))


def test_an_id_is_taken_once(ledger: AccountLedger) -> None:
    assert ledger.transfer(ACCOUNT, D(1), "more", 3, transfer_id="t1") == "t1"
    refused(DuplicateId, ledger, lambda: ledger.transfer(ACCOUNT, D(1), "more", 3, transfer_id="t1"))
    ledger.place_order(ACCOUNT, order())
    refused(DuplicateId, ledger, lambda: ledger.place_order(ACCOUNT, order()))
    ledger.fill_order("o1", fill(quantity="1"))
    refused(DuplicateId, ledger, lambda: ledger.fill_order("o1", fill(quantity="1")))
    assert ledger.create_user("tester") == "user-1"


def test_a_fill_beyond_its_order_and_one_that_costs_too_much(ledger: AccountLedger) -> None:
    ledger.place_order(ACCOUNT, order("o1", price=None, quantity="10"))
    refused(WrongState, ledger, lambda: ledger.fill_order("o1", fill(quantity="11")), "exceeds the 10 that is left")
    refused(Overdraft, ledger, lambda: ledger.fill_order("o1", fill(price="101")), "1000 USDT available, 10 too few")


def test_a_transaction_is_all_or_nothing(ledger: AccountLedger) -> None:
    before = everything(ledger)

    def broken() -> None:
        with ledger.transaction():
            ledger.place_order(ACCOUNT, order())
            ledger.fill_order("o1", fill())
            assert figures(ledger)[0] == D(980), "a query inside sees it"
            raise KeyError("a strategy's own")

    with pytest.raises(KeyError):
        broken()
    assert everything(ledger) == before
    with ledger.transaction():
        ledger.place_order(ACCOUNT, order())
        with pytest.raises(Overdraft):
            ledger.transfer(ACCOUNT, D(-999), "", 3)
        ledger.fill_order("o1", fill())
    assert figures(ledger)[0] == D(980)
    whole(ledger)


def test_amounts_of_36_digits_come_back_as_they_went_in(ledger: AccountLedger) -> None:
    large, small = D("999999999999999998.123456789012345678"), D("0.000000000000000001")
    ledger.open_account("user-1", account_id="rich", at_ns=3)
    ledger.transfer("rich", large, "", 3)
    ledger.transfer("rich", small, "", 3)
    assert figures(ledger, "rich")[0] == total(large, small) == ledger.accounts("rich")[0].available
    assert [found.amount for found in ledger.transfers("rich")] == [large, small]
    refused(InvalidValue, ledger, lambda: ledger.transfer("rich", D(2), "", 3), "more than 18 digits before")
    price, quantity = "0.123456789012345679", "123456789012345679.000000000000000007"
    ledger.place_order("rich", order("o1", "buy", quantity, price, venue=FUTURES))
    ledger.fill_order("o1", fill("f1", price, quantity))
    position = ledger.positions("rich")[0].position
    assert position.quantity == D(quantity) and position.cost == D("15241578753238836.774881877789971042")
    ledger.transfer("rich", figures(ledger, "rich")[1].copy_negate(), "all that is left", 3)
    assert figures(ledger, "rich") == (position.margin, 0, position.cost)
    whole(ledger)


def test_a_writer_that_comes_second_does_its_work_again(ledger: AccountLedger, place: str | Path) -> None:
    with open_account_ledger(place) as other:
        def second() -> None:
            with ledger.transaction():
                ledger.transfer(ACCOUNT, D(1), "first read", 3)
                other.transfer(ACCOUNT, D(10), "first written", 3)

        with pytest.raises(ConflictError, match="changed by another writer"):
            second()
        assert (figures(ledger)[0], ledger.conflicts) == (D(1010), 1)
        times: list[int] = []

        def work() -> None:
            ledger.transfer(ACCOUNT, D(100), "", 4)
            times.append(len(times))
            if len(times) < 3:
                other.transfer(ACCOUNT, D(10), "", 4)

        ledger.retried(work)
        assert (len(times), figures(ledger)[0]) == (3, D(1130))

        def hopeless() -> None:
            ledger.transfer(ACCOUNT, D(100), "", 4)
            other.transfer(ACCOUNT, D(1), "", 4)

        with pytest.raises(ConflictError, match="2 times in a row"):
            ledger.retried(hopeless, tries=2)
    whole(ledger)


def test_writers_at_once_lose_nothing(ledger: AccountLedger, place: str | Path) -> None:
    failed: list[BaseException] = []

    def write(name: str) -> None:
        try:
            with open_account_ledger(place) as own:
                for number in range(6):
                    own.retried(lambda number=number: own.transfer(ACCOUNT, D(1), "", number, transfer_id=f"{name}{number}"),  # type: ignore[misc]
                                tries=100)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [] and figures(ledger)[0] == D(1018)
    assert [event.version for event in ledger.events(ACCOUNT)] == list(range(1, 21))
    whole(ledger)


def test_queries_choose_and_limit(ledger: AccountLedger) -> None:
    fund(ledger, "other")
    for number in range(4):
        ledger.place_order(ACCOUNT, order(f"o{number}", at_ns=number))
    ledger.cancel_order("o1", "", 9)

    def ids(found: list[Any]) -> list[str]:
        return [row.placed.order_id for row in found]

    assert ids(ledger.orders(ACCOUNT, "open")) == ["o0", "o2", "o3"] and ledger.orders("other") == []
    assert ids(ledger.orders(state="open", limit=2)) == ["o2", "o3"] and ids(ledger.orders(venue=SPOT, symbol="X")) == []
    placed: NewOrder = ledger.orders(state="cancelled")[0].placed
    assert placed == order("o1", at_ns=1)
    events = ledger.events(limit=3)
    assert [event.kind for event in events] == ["user_created", "account_opened", "transferred"]
    following = ledger.events(after=events[-1].position, limit=2)
    assert [(event.aggregate_id, event.version) for event in following] == [("other", 1), ("other", 2)]
    assert [account.account_id for account in ledger.accounts(user_id="user-1")] == [ACCOUNT, "other"]


def test_what_was_committed_is_there_after_a_new_start(ledger: AccountLedger, place: str | Path) -> None:
    traded(ledger, "o1", "buy", "10", "2", "0.1", venue=FUTURES, leverage=D(5))
    before = everything(ledger)
    with open_account_ledger(place, read_only=True) as again:
        assert everything(again) == before
