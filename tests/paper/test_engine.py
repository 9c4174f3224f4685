"""A replay: calls in time, no look-ahead, orders that are not orders, exits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal, getcontext, localcontext
from typing import Any

import numpy as np
import pytest

from pumpwatch import Broker, Fill, Listing, SeenTrade, Strategy
from pumpwatch.paper.engine import Played, play
from pumpwatch.paper.results import ExitRules
from pumpwatch.paper.settings import Settings
from tests.paper.tapes import BUYS, FUTURES, SELLS, SPOT, Row, ms, tape

D = Decimal
GOLDEN: list[Row] = [(-100, 1.0, 500, BUYS), (340, 1.02, 2000, SELLS), (350, 1.02, 2000, BUYS), (400, 1.1, 4000, BUYS),
                     (450, 1.2, 100_000, BUYS), (2000, 1.5, 100_000, SELLS), (5390, 1.6, 3000, SELLS),
                     (5500, 1.4, 20_000, SELLS), (6000, 1.0, 10_000, SELLS)]


class BuyAtOnce(Strategy):
    market, quantity = SPOT.name, D(500)

    def on_listing(self, listing: Listing, broker: Broker) -> None:
        broker.buy(self.market, self.quantity)


class Scripted(Strategy):
    """Does on the listing what a test says, and keeps what it is told."""

    def __init__(self, act: Callable[[Broker], Any] = lambda broker: None,
                 on_fill: Callable[[Broker], Any] | None = None) -> None:
        self.act, self.after, self.told = act, on_fill, list[tuple[int, Any]]()

    def on_listing(self, listing: Listing, broker: Broker) -> None:
        self.told.append((broker.now, listing.symbol))
        self.act(broker)

    def on_trade(self, trade: SeenTrade, broker: Broker) -> None:
        self.told.append((broker.now, trade.price))

    def on_tick(self, broker: Broker) -> None:
        self.told.append((broker.now, "tick"))

    def on_fill(self, fill: Fill, broker: Broker) -> None:
        self.told.append((broker.now, fill))
        if self.after:
            self.after(broker)


def played(strategy: Strategy, rows: Sequence[Row] = GOLDEN, *others: Sequence[Row], delay_ms: int = 300, latency_ms: float = 40,
           end_ms: float = 20_000, **settings: Any) -> Played:
    return play(tape(rows, *others, end_ms=end_ms), strategy,
                Settings(size=D(500), latency_ms=latency_ms, **settings), delay_ms)


def test_the_golden_run_comes_to_what_a_hand_comes_to() -> None:
    """docs/paper-golden.md has the same figures, with the sums."""
    outcome = played(BuyAtOnce(), rules=ExitRules(hold_s=5)).outcome
    assert [(fill.at, fill.price, fill.quantity, fill.fee, fill.liquidity) for fill in outcome.fills] == [
        (ms(350), D("1.02"), D(200), D("0.204"), "taker"), (ms(400), D("1.1"), D(300), D("0.33"), "taker"),
        (ms(5500), D("1.4"), D(500), D("0.7"), "taker")]
    assert (outcome.entry_at, outcome.entry_price) == (ms(350), D("1.068"))
    assert outcome.slippage_bp == D(680)
    assert (outcome.exit_at, outcome.exit_price, outcome.exit_reason) == (ms(5500), D("1.4"), "time")
    assert (outcome.fees, outcome.pnl, outcome.pnl_percent) == (D("1.234"), D("164.766"), D("32.9532"))
    assert outcome.worst_drawdown == D("100.7")
    assert outcome.equity[0] == (ms(350), D("1499.796"))
    assert outcome.equity[-1] == (ms(6000), D("1664.766"))


def test_a_strategy_sees_a_trade_when_it_was_received_and_its_latency_later() -> None:
    strategy = Scripted()
    strategy.tick_s = 2.0
    played(strategy, end_ms=5400)
    assert strategy.told == [(ms(300), "KITE"), *((ms(at + 50), price) for at, price in
                             ((340, 1.02), (350, 1.02), (400, 1.1), (450, 1.2), (2000, 1.5))),
                             (ms(2300), "tick"), (ms(4300), "tick")]


class Cheat(Strategy):
    """Knows the whole tape by heart, buys below the rise that it has just seen, and turns back its clock."""

    def on_trade(self, trade: SeenTrade, broker: Broker) -> None:
        if trade.price == 1.2:
            for thing, name in ((broker, "now"), (trade, "price")):
                with pytest.raises(AttributeError):
                    setattr(thing, name, 1)
            broker.buy(trade.market, 100, limit=1.02)  # the price of a moment ago
            broker.buy(trade.market, 100)


def test_a_cheating_strategy_gets_the_prices_after_its_order() -> None:
    """The rise to 1.2 was traded at 450, seen at 500, so the order is there at 540: the next buyer pays 1.5, a second later."""
    rows: list[Row] = [row if row[0] != 2000 else (2000, 1.5, 100_000, BUYS) for row in GOLDEN]
    outcome = played(Cheat(), rows).outcome
    assert [(fill.at, fill.price) for fill in outcome.fills] == [(ms(2000), D("1.5")), (ms(6000), D("1.02"))]


def test_a_fill_is_known_later_than_it_happens() -> None:
    strategy = Scripted(lambda broker: broker.buy(SPOT.name, 200), lambda broker: held.append(broker.position(SPOT.name)))
    held: list[Decimal] = []
    played(strategy)
    at, fill = next(row for row in strategy.told if isinstance(row[1], Fill))
    assert (fill.at, at, held) == (ms(350), ms(390), [D(200)])


def no_orders(broker: Broker) -> None:
    for quantity in (float("nan"), -1, 10**30, float("inf"), 0, "5", True, D("1e-12")):
        broker.buy(SPOT.name, quantity)
    broker.buy("binance.spot:NOUSDT", 5)
    broker.buy(None, 5)
    broker.buy(SPOT.name)
    broker.buy(SPOT.name, 5, limit=float("nan"))
    broker.buy(SPOT.name, 5, stop=2)
    broker.buy(SPOT.name, 5, limit=2, stop=2, immediate=True)
    broker.buy(SPOT.name, 5, limit=1e-19)
    broker.buy(SPOT.name, 10**17, limit=10)
    broker.buy(FUTURES.name, quote=5)
    broker.buy(FUTURES.name, 5, leverage=-1)
    broker.sell(SPOT.name, 5)
    broker.buy(SPOT.name, 5, leverage=3)
    broker.buy(FUTURES.name, 5, leverage=100)
    broker.sell(FUTURES.name, 5, reduce_only=True)
    broker.buy(SPOT.name, 5000)


def test_an_order_that_is_none_is_rejected_with_its_reason() -> None:
    played_ = played(Scripted(no_orders))
    outcome = played_.outcome
    assert outcome.fills == () and outcome.exit_reason == "none" and outcome.pnl == 0
    assert [row.reason for row in outcome.rejected] == [
        "the quantity is not a finite number: nan", "the quantity is not above 0: -1",
        "the quantity is not below 10^18: 1000000000000000000000000000000", "the quantity is not a finite number: inf",
        "the quantity is not above 0: 0", "the quantity is not a number: '5'", "the quantity is not a number: True",
        "the quantity is below 0.00000001", "unknown symbol: 'binance.spot:NOUSDT'", "unknown symbol: None",
        "give either a quantity or a quote amount", "the limit is not a finite number: nan",
        "a stop order needs a limit", "a stop order is neither immediate nor fill-or-kill", "the limit is below 10^-18",
        "the amount is not below 10^18",
        "an amount in USDT needs a price, and no trade was seen yet", "the leverage is not a whole number from 1 on: -1",
        "sells 5.00000000, and the account has 0", "leverage 3 is above the limit of 1 of binance.spot",
        "leverage 100 is above the limit of 20 of binance.futures", "reduce-only, and there is no position to reduce",
        "not enough balance: at 1.02 it pays for 1469.11911616"]
    assert {row.at for row in outcome.rejected[:18]} == {ms(300)}
    assert {row.at for row in outcome.rejected[18:]} == {ms(340)}


RISE: list[Row] = [(0, 1.0, 10**6, BUYS), (400, 1.0, 10**6, BUYS), (1000, 1.5, 10**6, BUYS), (2000, 1.34, 10**6, SELLS),
                   (3000, 1.3, 10**6, SELLS), (9000, 1.2, 10**6, SELLS)]


@pytest.mark.parametrize(("rules", "reason", "price"), [
    (ExitRules(trailing_stop_percent=10), "trailing_stop", "1.3"), (ExitRules(target_percent=40), "target", "1.34"),
    (ExitRules(hold_s=8), "time", "1.2"), (ExitRules(), "end_of_tape", "1.2")])
def test_a_position_is_closed_by_the_rule_that_says_so(rules: ExitRules, reason: str, price: str) -> None:
    outcome = played(BuyAtOnce(), RISE, rules=rules).outcome
    assert (outcome.exit_reason, outcome.exit_price) == (reason, D(price))


def test_the_same_tape_and_seed_are_the_same_outcome_also_with_a_measured_latency() -> None:
    first, second, other = (played(BuyAtOnce(), rules=ExitRules(hold_s=1), latency="measured", seed=seed) for seed in (1, 1, 2))
    assert first == second
    assert first.outcome.fills[0].at == other.outcome.fills[0].at == ms(340 + 10)


def test_a_strategy_gets_the_trades_that_it_watches() -> None:
    both: list[Row] = [(500, 2.0, 1, BUYS)]
    for watches, seen in (((), [2.0, 1.0]), (("binance.futures",), [2.0]), ((SPOT.name,), [1.0]), (("okx.spot",), []),
                          (SPOT.name, [1.0])):
        strategy = Scripted()
        strategy.watches = watches
        played(strategy, [(600, 1.0, 1, BUYS)], both)
        assert [what for _, what in strategy.told[1:]] == seen


def test_a_delay_beyond_the_recording_plays_nothing() -> None:
    assert played(Scripted(), delay_ms=60_000).outcome.exit_reason == "none"


def test_a_strategy_s_own_precision_changes_none_of_the_sums() -> None:
    def roughly(broker: Broker) -> None:
        getcontext().prec = 3
        broker.buy(SPOT.name, D("123.456789"))

    with localcontext():
        rough = played(Scripted(roughly)).outcome
    assert rough == played(Scripted(lambda broker: broker.buy(SPOT.name, D("123.456789")))).outcome


def test_an_order_is_open_until_the_strategy_can_know_of_its_end() -> None:
    known = []
    strategy = Scripted(lambda broker: broker.buy(SPOT.name, 500), lambda broker: known.append(broker.open_orders()))
    played(strategy, [*GOLDEN[:3], (380, 1.1, 4000, BUYS)])  # the end at 380, before the first fill is known at 390
    assert known == [("o1",), ()]


def test_what_was_filled_while_a_position_was_closed_is_closed_as_well() -> None:
    rows: list[Row] = [(-100, 1.0, 500, BUYS), (350, 1.0, 1000, BUYS), (445, 1.0, 1000, BUYS), (2000, 1.0, 1e5, SELLS),
                       (4000, 1.0, 1e5, SELLS)]
    outcome = played(Scripted(lambda broker: broker.buy(SPOT.name, 500)), rows, rules=ExitRules(hold_s=0.05)).outcome
    assert [(fill.at, fill.quantity) for fill in outcome.fills] == [
        (ms(350), D(100)), (ms(445), D(100)), (ms(2000), D(100)), (ms(4000), D(100))]
    assert outcome.exit_reason == "time"


def test_the_known_balance_is_without_the_margin_and_closing_needs_no_leverage() -> None:
    rows: list[Row] = [(0, 1.0, 1e6, BUYS), (400, 1.0, 1e6, BUYS), (5000, 1.1, 1e6, SELLS)]
    known = []
    strategy = Scripted(lambda broker: broker.buy(FUTURES.name, 100, leverage=5), lambda broker: known.append(broker.cash))
    outcome = played(strategy, [], rows, leverage=50, rules=ExitRules(hold_s=1)).outcome  # the venue's most is 20
    assert known == [1500 - 20 - D("0.05"), 1500 + 10 - D("0.105")]
    assert (outcome.exit_reason, outcome.rejected) == ("time", ())


def test_slippage_is_measured_for_each_order_from_its_own_moment() -> None:
    rows: list[Row] = [(0, 1.0, 1e6, BUYS), (400, 1.0, 1e6, BUYS), (5000, 2.0, 1e6, BUYS), (7000, 2.0, 1e6, BUYS)]

    class Twice(BuyAtOnce):
        quantity, tick_s = D(10), 6.0

        def on_tick(self, broker: Broker) -> None:
            if broker.position(self.market) == 10:
                broker.buy(self.market, self.quantity)

    outcome = played(Twice(), rows).outcome
    assert (outcome.entry_price, outcome.slippage_bp) == (D("1.5"), D(0))


def test_a_trade_outside_of_the_order_book_triggers_no_exit_and_is_no_last_price() -> None:
    rows: list[Row] = [(0, 1.0, 1e6, BUYS), (400, 1.0, 1e6, BUYS), (1000, 9.0, 5, BUYS), (2000, 1.1, 1e6, SELLS)]
    found = replace(tape(rows), matched=np.array([True, True, False, True]))
    last = []

    class Looks(BuyAtOnce):
        def on_trade(self, trade: SeenTrade, broker: Broker) -> None:
            last.append((trade.price, broker.last(trade.market)))

    outcome = play(found, Looks(), Settings(rules=ExitRules(target_percent=50)), 300).outcome
    assert (outcome.exit_reason, last) == ("end_of_tape", [(1.0, 1.0), (9.0, 1.0), (1.1, 1.1)])
