"""The exit rules of short positions, and of a closing order that came to nothing; the others are in test_engine."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import pytest

from pumpwatch.paper.broker import PaperBroker
from pumpwatch.paper.exits import NEVER, Exits
from pumpwatch.paper.orders import PaperOrder
from pumpwatch.paper.results import ExitRules
from pumpwatch.paper.settings import Settings
from pumpwatch.strategy import Fill
from tests.paper.tapes import FUTURES, SPOT


class Desk:
    """The rules over a broker whose orders are kept."""

    def __init__(self, rules: ExitRules) -> None:
        self.sent: list[PaperOrder] = []
        self.broker = PaperBroker((SPOT, FUTURES), (), Settings(), Random(1), self.sent.append, lambda order_id, number: None)
        self.broker._seen = [SeenNothing(), SeenNothing()]  # type: ignore[list-item]
        self.exits = Exits(rules, self.broker)

    def fill(self, side: str, price: str, quantity: int, at: int = 0) -> None:
        fill = Fill(at, FUTURES.name, side, Decimal(price), Decimal(quantity), Decimal(0), "taker", "o1")
        self.broker.learn(fill, PaperOrder("o1", 1, 1, Decimal(quantity), None, False, False, 1, 0), False)
        self.exits.learn(fill, self.broker.position(FUTURES.name), at)


class SeenNothing:
    def last(self, now_ns: int) -> None:
        return None


@pytest.mark.parametrize(("rules", "prices", "tag"), [
    (ExitRules(trailing_stop_percent=10), (9.0, 9.8, 9.9), "trailing_stop"),
    (ExitRules(target_percent=20), (9.0, 8.1, 8.0), "target"),
    (ExitRules(trailing_stop_percent=10, target_percent=30), (8.0, 7.0), "target")])
def test_a_short_position_is_closed_by_a_purchase(rules: ExitRules, prices: tuple[float, ...], tag: str) -> None:
    desk = Desk(rules)
    desk.fill("sell", "10", 5)
    for price in prices[:-1]:
        desk.exits.on_price(FUTURES.name, price)
    assert desk.sent == []
    desk.exits.on_price(FUTURES.name, prices[-1])
    assert [(order.side, order.quantity, order.tag, order.reduce_only) for order in desk.sent] == [("buy", Decimal(5), tag, True)]
    desk.exits.on_price(FUTURES.name, 100.0)
    assert len(desk.sent) == 1
    desk.exits.retry(FUTURES.name)
    desk.exits.on_price(FUTURES.name, 100.0 if tag == "trailing_stop" else 1.0)
    assert len(desk.sent) == 2


def test_time_counts_from_the_first_fill_until_the_position_is_gone() -> None:
    desk = Desk(ExitRules(hold_s=1))
    assert desk.exits.due_at == NEVER
    desk.fill("buy", "10", 5, at=100)
    desk.fill("buy", "20", 5, at=200)
    assert desk.exits.due_at == 1_000_000_100
    assert desk.exits.watched[FUTURES.name].entry == 15
    desk.exits.expire(1_000_000_099)
    desk.exits.expire(1_000_000_100)
    assert [order.tag for order in desk.sent] == ["time"]
    assert desk.exits.due_at == NEVER
    desk.fill("sell", "20", 10)
    assert desk.exits.watched == {}
