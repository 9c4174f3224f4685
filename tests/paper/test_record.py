"""A replay in the account ledger: the same money, once, whole or not at all."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from pumpwatch import Broker, Listing, SeenTrade, Strategy
from pumpwatch.accounts import LedgerRefusal, open_account_ledger
from pumpwatch.paper.engine import Played, play
from pumpwatch.paper.orders import Action
from pumpwatch.paper.record import record
from pumpwatch.paper.results import Rules
from pumpwatch.paper.settings import Settings
from tests.paper.tapes import BUYS, FUTURES, SELLS, SPOT, T0, Row, tape

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

    def on_trade(self, trade: SeenTrade, broker: Broker) -> None:
        broker.cancel(self.cancelled)


def played() -> Played:
    return play(tape(ROWS, ROWS), Everything(), Settings(rules=Rules(hold_s=0.5), latency_ms=10.0), 300)


def test_the_ledger_comes_to_the_same_money_and_proves_it(tmp_path: Path) -> None:
    found = played()
    kinds = [action.kind for action in found.actions]
    assert {"placed", "filled", "rejected", "cancelled"} <= set(kinds)
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
