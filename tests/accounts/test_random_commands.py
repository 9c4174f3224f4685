"""Random commands against a plain model of an account, on both databases; each ledger is proved at its end."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from pumpwatch.accounts import LedgerRefusal, NewOrder, OrderFill, open_account_ledger
from tests.accounts.ledgers import ACCOUNT, BOTH, fund, new_place, whole
from tests.accounts.plain_model import ROUNDING, Model, ModelOrder, Refused

STEPS = {"sqlite": (8, 50), "postgres": (2, 25)}  # examples, commands of each
SIDE, MARGIN = st.sampled_from([1, -1]), st.sampled_from(["isolated", "cross"])
PRICES = st.sampled_from(["0.5", "1", "1.375", "2", "2.001", "4"]).map(Decimal)
QUANTITIES = st.sampled_from(["0.001", "8", "10", "40", "64.5", "300"]).map(Decimal)


def has_open(machine: Commands) -> bool:
    return any(order.state == "open" for order in machine.model.orders.values())


def has_position(machine: Commands) -> bool:
    return bool(machine.model.positions["one.futures"].quantity)


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
        except LedgerRefusal:
            if wanted is not None and not near:
                raise  # the model does it
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

    @rule(money=st.sampled_from(["-300", "-0.01", "0.5", "300"]).map(Decimal))
    def transfer(self, money: Decimal) -> None:
        def moved(model: Model) -> None:
            model.money["USDT"] += Fraction(money)

        self.both(lambda: self.ledger.transfer(ACCOUNT, money, "", 3), moved)

    def open_order(self, pick: int) -> str:
        """Return one of the open orders."""
        found = [name for name, order in self.model.orders.items() if order.state == "open"]
        return found[pick % len(found)]

    @rule(futures=st.booleans(), side=SIDE, quantity=QUANTITIES, price=st.none() | PRICES, leverage=st.sampled_from([1, 2, 10]),
          reduce_only=st.booleans(), margin_type=MARGIN)
    def place_order(self, futures: bool, side: int, quantity: Decimal, price: Decimal | None, leverage: int, reduce_only: bool,
                    margin_type: str) -> None:
        self.number += 1
        name = f"o{self.number}"
        reduce_only, leverage = reduce_only and futures, leverage if futures else 1
        placed = NewOrder(
            order_id=name, venue="one.futures" if futures else "one.spot", symbol="X", base="" if futures else "COIN",
            side="buy" if side > 0 else "sell", kind="limit" if price else "market", quantity=quantity, price=price,
            reduce_only=reduce_only, leverage=Decimal(leverage), margin_type=margin_type, at_ns=4)
        model = ModelOrder(placed.venue, side, Fraction(quantity), reduce_only, leverage, margin_type,
                           "COIN" if not futures and side < 0 else "USDT", Fraction(0))
        self.both(lambda: self.ledger.place_order(ACCOUNT, placed),
                  lambda m: m.place(name, copy.copy(model), Fraction(price) if price else None))

    @rule(futures=st.booleans(), side=SIDE, quantity=QUANTITIES, leverage=st.sampled_from([1, 10]), price=PRICES,
          margin_type=MARGIN)
    def trade(self, futures: bool, side: int, quantity: Decimal, leverage: int, price: Decimal, margin_type: str) -> None:
        """Place a market order and fill all of it."""
        self.place_order(futures, side, quantity, None, leverage, False, margin_type)
        if f"o{self.number}" in self.model.orders:
            self.fill_order(f"o{self.number}", price, Fraction(1), "0.01")

    @precondition(has_open)
    @rule(pick=st.integers(0, 9), price=PRICES, share=st.sampled_from([Fraction(1), Fraction(1, 2), Fraction(11, 10)]),
          fee=st.sampled_from(["0", "0.125", "-0.01"]))
    def fill(self, pick: int, price: Decimal, share: Fraction, fee: str) -> None:
        self.fill_order(self.open_order(pick), price, share, fee)

    def fill_order(self, name: str, price: Decimal, share: Fraction, fee: str) -> None:
        self.number += 1
        part = self.model.orders[name].left * share
        quantity = Decimal(part.numerator) / part.denominator  # a power of ten and of two
        if Fraction(quantity) != part:
            return
        filled = OrderFill(fill_id=f"f{self.number}", price=price, quantity=quantity, fee=Decimal(fee), liquidity="taker",
                           at_ns=5)
        self.both(lambda: self.ledger.fill_order(name, filled),
                  lambda model: model.fill(name, Fraction(price), part, Fraction(fee)))

    @precondition(has_open)
    @rule(pick=st.integers(0, 9))
    def cancel(self, pick: int) -> None:
        name = self.open_order(pick)
        self.both(lambda: self.ledger.cancel_order(name, "", 6), lambda model: model.end(name))

    @precondition(has_position)
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
        max_examples=examples, stateful_step_count=steps, deadline=None, phases=[Phase.generate],  # shrinking takes minutes
        suppress_health_check=list(HealthCheck)))
