"""A simulated book stands around the newest trade of the market, and everyone who asks then gets the same."""

from __future__ import annotations

import time

from pumpwatch_plugins.simulators.binance import simulator_dialects

from pumpwatch.sim.book import DEPTH, LEVEL_VALUE, book_around
from pumpwatch.sim.rows import VOID, Rows
from tests.simulators.direct import Client


def client() -> Client:
    return Client(simulator_dialects()[1], listed=1, trades=400)


def test_the_newest_trade_took_the_best_ask() -> None:
    venue = client()
    rows = venue.history.recent(0, 400)
    newest = rows.take((rows.flags & VOID) == 0).take(slice(-1, None))
    book = venue.history.book(0, time.time_ns())
    assert (book.asks[0][0], book.at_ns) == (int(newest.price[0]), int(newest.timestamp[0]))
    assert book == venue.history.book(0, time.time_ns())
    assert len(book.asks) == len(book.bids) == DEPTH


def test_levels_are_in_order_and_worth_some_hundred_quote_units() -> None:
    book = client().history.book(0, time.time_ns())
    bids, asks = [price for price, _ in book.bids], [price for price, _ in book.asks]
    assert bids == sorted(bids, reverse=True) and asks == sorted(asks) and bids[0] < asks[0]
    values = [float(price) * float(quantity) for price, quantity in book.texts("asks", 50)]
    assert all(0.9 * LEVEL_VALUE < value < 6 * LEVEL_VALUE for value in values)


def test_an_earlier_time_has_the_book_of_then() -> None:
    venue = client()
    rows = venue.history.recent(0, 400)
    then_ns = int(rows.timestamp[100])
    assert venue.history.book(0, then_ns).at_ns <= then_ns < venue.history.book(0, time.time_ns()).at_ns


def test_without_a_trade_the_book_stands_around_the_first_price() -> None:
    venue = client()
    book = book_around(venue.table, 0, Rows.empty(venue.table), 5)
    assert float(book.texts("asks", 1)[0][0]) == venue.table.specs[0].price
    assert (book.at_ns, book.number) == (5, 0)
