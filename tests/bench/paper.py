"""Paper trading: CPU of 1,000,000 recorded trades that are replayed through a strategy which looks at each of them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from pumpwatch import Broker, Listing, SeenTrade, Strategy
from pumpwatch.model import NO_SEQUENCE, TradeBatch
from pumpwatch.paper.engine import play
from pumpwatch.paper.results import ExitRules
from pumpwatch.paper.settings import Settings
from pumpwatch.paper.tape import make_tape
from tests.paper.tapes import FUTURES, LISTING, SPOT, T0

TRADES = 1_000_000
SPAN_NS = 20_000_000_000


class LooksAtEach(Strategy):
    """Buys on both markets, keeps an order resting, and adds up every trade."""

    def on_listing(self, listing: Listing, broker: Broker) -> None:
        self.seen, self.amount = 0, 0.0
        broker.buy(SPOT.name, 500)
        broker.buy(FUTURES.name, 500)
        broker.buy(SPOT.name, 10, limit=0.1)

    def on_trade(self, trade: SeenTrade, broker: Broker) -> None:
        self.seen += 1
        self.amount += trade.price * trade.quantity


def paper(repeats: int) -> dict[str, Any]:
    """Return the best CPU in s of a replay, the trades that the strategy saw, and its fills."""
    numbers = np.random.default_rng(1)
    times = np.sort(numbers.integers(T0, T0 + SPAN_NS, TRADES))
    batch = TradeBatch(times, numbers.integers(0, 2, TRADES).astype(np.int32), 1 + np.cumsum(numbers.normal(0, 1e-5, TRADES)),
                       numbers.uniform(1, 100, TRADES), numbers.integers(0, 2, TRADES).astype(np.uint8), np.arange(TRADES),
                       np.full(TRADES, NO_SEQUENCE, np.int64), times + 10_000_000, np.zeros(TRADES, np.uint8))
    tape = make_tape(LISTING, (SPOT, FUTURES), (0, 1), batch, T0 + SPAN_NS + 100_000_000)
    best_s, strategy, fills = float("inf"), LooksAtEach(), 0
    for _ in range(repeats):
        strategy, began = LooksAtEach(), time.process_time()
        found = play(tape, strategy, Settings(rules=ExitRules(hold_s=15, trailing_stop_percent=50)), 0)
        best_s, fills = min(best_s, time.process_time() - began), len(found.outcome.fills)
    return {"cpu_s": best_s, "seen": strategy.seen, "fills": fills}
