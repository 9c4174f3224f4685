"""A simulated ticker counts the trades of 24 hours, those outside the market left out."""

from __future__ import annotations

import time

from pumpwatch_plugins.simulators.binance import simulator_dialects

from pumpwatch.sim.rows import VOID, Rows
from pumpwatch.sim.ticker import DAY_NS, ticker_of
from tests.simulators.direct import Client


def test_figures_are_those_of_the_trades() -> None:
    venue = Client(simulator_dialects()[1], listed=1, trades=400)
    rows = venue.history.recent(0, 400)
    market = rows.take((rows.flags & VOID) == 0)
    made = venue.history.ticker(0, time.time_ns())
    prices = market.price
    assert (made.open, made.last, made.high, made.low) == (prices[0], prices[-1], prices.max(), prices.min())
    assert (made.quantity, made.trades, made.at_ns) == (market.quantity.sum(), len(market), market.timestamp[-1])
    assert made.bid < made.ask == made.last


def test_trades_of_yesterday_do_not_count() -> None:
    venue = Client(simulator_dialects()[1], listed=1, trades=400)
    newest = int(venue.history.recent(0, 1).timestamp[-1])
    assert venue.history.ticker(0, newest + DAY_NS).trades <= 1


def test_without_a_trade_the_price_is_the_first_one_and_nothing_was_traded() -> None:
    table = Client(simulator_dialects()[1], listed=1, trades=0).table
    made = ticker_of(table, 0, Rows.empty(table), 5)
    assert (float(made.text("last")), made.trades, made.quantity, made.at_ns) == (table.specs[0].price, 0, 0, 5)
