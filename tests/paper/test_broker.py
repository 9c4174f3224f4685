"""The broker of a strategy; the reasons of its rejections are in test_engine."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import numpy as np
import pytest

from pumpwatch.errors import PumpWatchError
from pumpwatch.paper import broker as module
from pumpwatch.paper.broker import PaperBroker
from pumpwatch.paper.orders import PaperOrder
from pumpwatch.paper.seen import SeenMarket
from pumpwatch.paper.settings import Settings
from pumpwatch.strategy import Fill
from tests.paper.tapes import FUTURES, SPOT

D = Decimal


class Desk:
    def __init__(self) -> None:
        seen = SeenMarket(np.array([0], np.int64), np.array([2.0]), np.array([5.0]))
        self.sent: list[PaperOrder] = []
        self.cancelled: list[str] = []
        self.broker = PaperBroker((SPOT, FUTURES), (seen, seen), Settings(size=D(100), leverage=3), Random(1), self.sent.append,
                                  lambda order_id, number: self.cancelled.append(order_id))


def test_a_quote_amount_is_a_quantity_at_the_last_price_and_futures_have_the_run_s_leverage() -> None:
    desk = Desk()
    desk.broker.buy(SPOT.name, quote=5)
    desk.broker.sell(FUTURES.name, quote=D(7), limit=2.5, immediate=True)
    assert [(order.side, order.quantity, order.limit, order.leverage, order.immediate) for order in desk.sent] == [
        ("buy", D("2.5"), None, 1, False), ("sell", D("3.5"), D("2.5"), 3, True)]
    assert desk.broker.open_orders() == ("o1", "o2")
    desk.broker.cancel("o2")
    desk.broker.cancel("o9")
    desk.broker.cancel_all(SPOT.name)
    assert desk.cancelled == ["o2", "o1"]


def test_it_knows_what_it_has_learned() -> None:
    desk = Desk()
    assert desk.broker.close(SPOT.name) is None
    desk.broker.buy(SPOT.name, 5)
    desk.broker.learn(Fill(1, SPOT.name, "buy", D(2), D(5), D("0.01"), "taker", "o1"), desk.sent[0], True)
    assert (desk.broker.position(SPOT.name), desk.broker.cash, desk.broker.open_orders()) == (D(5), D("289.99"), ())
    assert desk.broker.close(SPOT.name) == "o2"
    assert (desk.sent[1].side, desk.sent[1].quantity, desk.sent[1].reduce_only) == ("sell", D(5), True)


def test_markets_are_known_by_their_names() -> None:
    broker = Desk().broker
    assert broker.markets == (SPOT.name, FUTURES.name)
    assert [broker.market_type(name) for name in (*broker.markets, "nowhere")] == ["spot", "futures", ""]
    assert (broker.last("nowhere"), broker.volume("nowhere")) == (None, 0)
    assert (broker.last(SPOT.name), broker.volume(SPOT.name)) == (2, 10)
    assert (broker.size, broker.leverage, broker.now) == (100, 3, 0)


def test_orders_without_end_end_the_replay_and_rejections_are_kept_up_to_a_number() -> None:
    broker = Desk().broker
    for _ in range(module.MOST_ORDERS):
        broker.buy("nowhere", 1)
    assert len(broker.rejected) == module.MOST_REJECTED
    with pytest.raises(PumpWatchError, match="more than 20,000 orders"):
        broker.buy("nowhere", 1)
