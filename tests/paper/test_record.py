"""A replay in the account ledger: the same money, once, whole or not at all."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from pumpwatch import Broker, Fill, Listing, SeenTrade, Strategy
from pumpwatch.accounts import LedgerRefusal, open_account_ledger
from pumpwatch.paper.engine import Played, play
from pumpwatch.paper.orders import Action
from pumpwatch.paper.record import record
from pumpwatch.paper.results import ExitRules
from pumpwatch.paper.settings import Settings
from pumpwatch.paper.tape import Book
from tests.paper.tapes import BUYS, FUTURES, SELLS, SPOT, T0, Row, ms, tape

ROWS: list[Row] = [(-100, 1.0, 500, BUYS), (350, 1.02, 2003, BUYS), (400, 1.1037, 4001.7, BUYS), (900, 1.5, 50_000, SELLS),
                   (6000, 1.0, 10_000, SELLS), (7000, 1.0, 10_000, SELLS)]


class Everything(Strategy):
    """Orders of each kind and fate on both markets."""

    def on_listing(self, listing: Listing, broker: Broker) -> None:
        broker.buy(SPOT.name, quote=333)
        broker.buy(FUTURES.name, 1000 / 3, leverage=20)
        broker.buy(SPOT.name, 7.77, limit=1.01)
        broker.buy(SPOT.name, 5, limit=0.2)
        broker.buy(SPOT.name, 50, limit=1.05, immediate=True)
        broker.sell(SPOT.name, 10**9)
        broker.buy(SPOT.name, 10**9)
        self.cancelled = broker.buy(SPOT.name, 5, limit=0.3)
        broker.buy(SPOT.name, 5, limit=1.6, stop=1.1)
        broker.buy(SPOT.name, 5, limit=1.9, stop=1.8)
        broker.buy(SPOT.name, 5, fill_or_kill=True)

    def on_trade(self, trade: SeenTrade, broker: Broker) -> None:
        broker.cancel(self.cancelled)


def played() -> Played:
    return play(tape(ROWS, ROWS), Everything(), Settings(rules=ExitRules(hold_s=0.5), latency_ms=10.0), 300)


def test_the_ledger_comes_to_the_same_money_and_proves_it(tmp_path: Path) -> None:
    found = played()
    kinds = [action.kind for action in found.actions]
    assert {"placed", "triggered", "filled", "rejected", "cancelled"} <= set(kinds)
    with open_account_ledger(tmp_path / "ledger.sqlite3") as ledger:
        assert record(ledger, "a1", "KITE", Decimal(3000), "KITE", T0, found.actions)
        events = len(ledger.events())
        assert not record(ledger, "a1", "KITE", Decimal(3000), "KITE", T0, found.actions)
        assert len(ledger.events()) == events
        [account] = ledger.accounts()
        assert [finding for finding in ledger.check() if finding.state != "ok"] == []
        assert len(ledger.fills()) == kinds.count("filled")
        held = sum(row.position.quantity * row.position.mark_price for row in ledger.positions(flat=False)
                   if row.position.venue == SPOT.venue)
    assert abs(account.balance + held - 3000 - found.outcome.pnl) < Decimal("0.00000001")


def test_a_liquidation_loses_the_margin_there_as_well(tmp_path: Path) -> None:
    falls: list[Row] = [(-100, 1.0, 9, BUYS), (350, 1.0, 9000, BUYS), (500, 0.9, 10, SELLS)]

    class Long(Strategy):
        def on_listing(self, listing: Listing, broker: Broker) -> None:
            broker.buy(FUTURES.name, 100, leverage=10)

    found = play(tape([], falls), Long(), Settings(), 0)
    assert (found.outcome.exit_reason, found.outcome.pnl) == ("liquidated", Decimal("-10.05"))
    with open_account_ledger(tmp_path / "ledger.sqlite3") as ledger:
        record(ledger, "a1", "KITE", Decimal(3000), "KITE", T0, found.actions)
        assert ledger.accounts()[0].balance == 3000 - Decimal("10.05")


def test_a_replay_that_the_ledger_refuses_is_not_there_at_all(tmp_path: Path) -> None:
    actions = (*played().actions, Action(kind="cancelled", at=T0, order_id="o99"))
    with open_account_ledger(tmp_path / "ledger.sqlite3") as ledger:
        with pytest.raises(LedgerRefusal):
            record(ledger, "a1", "KITE", Decimal(3000), "KITE", T0, actions)
        assert ledger.events() == []


class Odd(Strategy):
    """Orders whose prices have more digits than a ledger keeps, that need what others have locked, or are enormous."""

    def __init__(self, case: str) -> None:
        self.case = case

    def on_listing(self, listing: Listing, broker: Broker) -> None:
        if self.case == "limit":
            broker.buy(SPOT.name, 100, limit=(broker.last(SPOT.name) or 0) * 1.1)
        elif self.case == "book":
            broker.buy(SPOT.name, 100)
        elif self.case == "everything":
            broker.buy(FUTURES.name, 10**10 * 7, leverage=20)
        elif self.case == "locked":
            broker.buy(SPOT.name, 1500, limit=0.99)
            broker.buy(SPOT.name, 1400)
        else:
            broker.sell(FUTURES.name, 10)

    def on_fill(self, fill: Fill, broker: Broker) -> None:
        if self.case == "enormous":
            broker.buy(FUTURES.name, 10**18 - 1, limit=2, reduce_only=True)


LOW: list[Row] = [(0, 4.2345678901e-8, 1e6, BUYS), (301, 4.3e-8, 1e6, BUYS), (400, 4.4e-8, 1e6, BUYS)]
RUNS_AWAY: list[Row] = [(0, 1.0, 1e6, BUYS), (400, 1.3, 1e6, BUYS)]
CHEAP: list[Row] = [(0, 4.2345678901e-8, 1e12, BUYS), (400, 2.1345678901e-6, 1e12, BUYS)]
BOTH_SIDES: list[Row] = [(0, 1.0, 1e6, BUYS), (400, 1.0, 1e6, SELLS), (600, 1.0, 1e6, BUYS)]


@pytest.mark.parametrize(("case", "rows", "fills"), [
    ("limit", LOW, 1), ("book", LOW, 1), ("locked", RUNS_AWAY, 1), ("everything", CHEAP, 1), ("enormous", BOTH_SIDES, 1)])
def test_whatever_the_venues_of_a_replay_take_the_ledger_takes_as_well(case: str, rows: list[Row], fills: int,
                                                                       tmp_path: Path) -> None:
    books = {0: [Book(ms(5), (), ((4.2345678901e-8, 1e9),))]} if case == "book" else {}
    found = play(tape(rows, rows, books=books), Odd(case), Settings(latency_ms=10.0), 300)
    with open_account_ledger(tmp_path / "ledger.sqlite3") as ledger:
        record(ledger, "a1", "KITE", Decimal(3000), "KITE", T0, found.actions)
        assert len(ledger.fills()) == fills
        assert [finding for finding in ledger.check() if finding.state != "ok"] == []
