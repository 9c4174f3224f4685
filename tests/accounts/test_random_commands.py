"""Random commands against a plain model of an account, on both databases; each ledger is proved at its end."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from pumpwatch.accounts import LedgerRefusal, NewOrder, OrderFill, open_account_ledger
from tests.accounts.ledgers import ACCOUNT, BOTH, fund, new_place, whole
from tests.accounts.plain_model import ROUNDING, Model, ModelOrder, Refused

STEPS = {"sqlite": (12, 40), "postgres": (2, 25)}  # examples, commands of each
NAMES = st.sampled_from(["o1", "o2", "o3", "o4"])
PRICES = st.decimals("0.5", "4", places=3)
QUANTITIES = st.decimals("0.001", "300", places=3)


class Commands(RuleBasedStateMachine):
    """A ledger and the model of its one account."""

    place: str | Path

    @initialize()
    def begin(self) -> None:
        self.ledger = open_account_ledger(self.place)
        fund(self.ledger)
        self.model, self.number = Model(), 0
        self.model.money["USDT"] = Fraction(1000)

    def both(self, command: Callable[[], object], model: Callable[[Model], object]) -> None:
        """Let ledger and model do the same, and compare: both do it or both refuse."""
        wanted: Model | None = copy.deepcopy(self.model)
        assert wanted is not None
        near = False
        try:
            model(wanted)
            near = abs(wanted.slack()) < ROUNDING  # rounding may decide
            if wanted.slack() < 0:
                raise Refused
        except Refused:
            wanted = None
        try:
            command()
        except LedgerRefusal as error:
            assert wanted is None or near, f"the ledger refuses: {error}"
        else:
            assert wanted is not None or near, "the ledger does what it must refuse"
            if wanted is None:
                wanted = copy.deepcopy(self.model)
                model(wanted)
            self.model = wanted
        self.compare()

    def compare(self) -> None:
        account, = self.ledger.accounts(ACCOUNT)
        close(account.balance, self.model.money["USDT"])
        close(account.locked, self.model.locked("USDT"))
        close(account.holdings.get("COIN", Decimal(0)), self.model.money["COIN"])
        for held in self.ledger.positions():
            position, model = held.position, self.model.positions[held.position.venue]
            close(position.quantity, abs(model.quantity))
            close(position.cost, model.cost)
            close(position.margin, model.margin)
            assert position.side == ("flat" if not model.quantity else "long" if model.quantity > 0 else "short")

    @rule(money=st.decimals(-600, 600, places=2).filter(bool))
    def transfer(self, money: Decimal) -> None:
        def moved(model: Model) -> None:
            model.money["USDT"] += Fraction(money)

        self.both(lambda: self.ledger.transfer(ACCOUNT, money, "", 3), moved)

    @rule(slot=NAMES, futures=st.booleans(), side=st.sampled_from([1, -1]), quantity=QUANTITIES, price=st.none() | PRICES,
          leverage=st.sampled_from([1, 2, 10]), reduce_only=st.booleans(), margin_type=st.sampled_from(["isolated", "cross"]))
    def new_order(self, slot: str, futures: bool, side: int, quantity: Decimal, price: Decimal | None, leverage: int,
                  reduce_only: bool, margin_type: str) -> None:
        if slot in self.model.orders and self.model.orders[slot].state == "open":
            return
        self.number += 1
        name = f"{slot}-{self.number}"
        reduce_only, leverage = reduce_only and futures, leverage if futures else 1
        placed = NewOrder(
            order_id=name, venue="one.futures" if futures else "one.spot", symbol="X", base="" if futures else "COIN",
            side="buy" if side > 0 else "sell", kind="limit" if price else "market", quantity=quantity, price=price,
            reduce_only=reduce_only, leverage=Decimal(leverage), margin_type=margin_type, at_ns=4)
        model = ModelOrder(name, placed.venue, side, Fraction(quantity), reduce_only, leverage, margin_type,
                           "COIN" if not futures and side < 0 else "USDT", Fraction(0))
        self.both(lambda: self.ledger.place_order(ACCOUNT, placed),
                  lambda m: m.place(slot, copy.copy(model), Fraction(price) if price else None))

    def known(self, slot: str) -> str:
        return self.model.orders[slot].order_id if slot in self.model.orders else "none"

    @rule(slot=NAMES, price=PRICES, share=st.sampled_from([Fraction(1), Fraction(1, 2), Fraction(11, 10)]),
          fee=st.sampled_from(["0", "0.125", "-0.01"]))
    def fill(self, slot: str, price: Decimal, share: Fraction, fee: str) -> None:
        self.number += 1
        order = self.model.orders.get(slot)
        part = (order.left if order else Fraction(1)) * share or Fraction(1)
        quantity = Decimal(part.numerator) / part.denominator  # a power of ten and of two
        if Fraction(quantity) != part:
            return
        filled = OrderFill(fill_id=f"f{self.number}", price=price, quantity=quantity, fee=Decimal(fee), liquidity="taker", at_ns=5)
        self.both(lambda: self.ledger.fill_order(self.known(slot), filled),
                  lambda model: model.fill(slot, Fraction(price), part, Fraction(fee)))

    @rule(slot=NAMES)
    def cancel(self, slot: str) -> None:
        self.both(lambda: self.ledger.cancel_order(self.known(slot), "", 6), lambda model: model.end(slot))

    @rule(price=PRICES)
    def liquidate(self, price: Decimal) -> None:
        self.both(lambda: self.ledger.liquidate_position(ACCOUNT, "one.futures", "X", price, 7),
                  lambda model: model.liquidate(Fraction(price)))

    @rule()
    def start_again(self) -> None:
        self.ledger.close()
        self.ledger = open_account_ledger(self.place)
        self.compare()

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            import os
            if os.environ.get("CNT"):
                from collections import Counter
                with open("/tmp/cnt.ledger","a") as fh: fh.write(" ".join(e.kind for e in self.ledger.events())+"\n")
            whole(self.ledger)
            self.ledger.close()


def close(found: Decimal, wanted: Fraction) -> None:
    assert abs(Fraction(found) - wanted) < ROUNDING, f"{found} is not {float(wanted)}"


@pytest.mark.parametrize("kind", BOTH)
def test_the_ledger_does_what_the_model_does(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    def machine() -> Commands:
        found = Commands()
        found.place = new_place(kind, tmp_path, request)
        return found

    examples, steps = STEPS[kind]
    run_state_machine_as_test(machine, settings=settings(  # type: ignore[no-untyped-call]
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)))
