"""A simulated book stands around the newest trade of the market, and everyone who asks then gets the same."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from pumpwatch_plugins.simulators.binance import simulator_dialects

from pumpwatch.config import Config
from pumpwatch.errors import REFUSALS
from pumpwatch.plugin_kit.samples import SimulatedVenue
from pumpwatch.plugins import load_plugins
from pumpwatch.sim.book import DEPTH, LEVEL_VALUE, book_around
from pumpwatch.sim.dialect import Dialect
from pumpwatch.sim.rows import VOID, Rows
from pumpwatch.venue import Venue
from tests.simulators.direct import Client

PLUGINS = load_plugins(Config())
DIALECTS = {dialect.name: dialect for dialect in PLUGINS.dialects if isinstance(dialect, Dialect)}
PLAYED = [(venue, DIALECTS[venue.name]) for venue in PLUGINS.venues if not venue.variant]


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


def test_without_a_trade_the_book_is_around_the_first_price() -> None:
    venue = client()
    book = book_around(venue.table, 0, Rows.empty(venue.table), 5)
    assert float(book.texts("asks", 1)[0][0]) == venue.table.specs[0].price
    assert (book.at_ns, book.number) == (5, 0)


@pytest.mark.parametrize(("venue", "dialect"), PLAYED, ids=lambda part: part.name)
def test_every_venue_answers_about_a_symbol_that_it_lists_and_rejects_others(venue: Venue, dialect: Dialect) -> None:
    assert venue.books is not None
    simulated = SimulatedVenue(venue, dialect)
    instrument = simulated.instrument(0)
    assert instrument is not None
    book = venue.books.parse(simulated.answer(venue.books.request(instrument.symbol)), instrument)
    assert len(book.asks) in (30, 50)
    unknown = replace(instrument, symbol="NOPE")
    with pytest.raises(REFUSALS):
        venue.books.parse(simulated.answer(venue.books.request(unknown.symbol)), unknown)


@pytest.mark.parametrize(("venue", "dialect"), PLAYED, ids=lambda part: part.name)
def test_a_book_costs_what_its_plugin_says(venue: Venue, dialect: Dialect) -> None:
    assert venue.books is not None
    client = Client(dialect, listed=1)
    request = venue.books.request(client.table.symbols[0])
    query = {key: str(value) for key, value in request.params.items()}
    most = dialect.rules.requests
    assert client.get(request.path, most - request.weight, **query).status == 200
    assert client.get(request.path, most - request.weight + 1, **query).status in (403, 418, 429)


@pytest.mark.parametrize(("exchange", "key", "value"), [
    ("binance", "limit", "x"), ("binance", "limit", "0"), ("okx", "sz", "401"), ("okx", "sz", "x"), ("gate", "limit", "101")])
def test_a_depth_that_is_not_allowed_is_rejected(exchange: str, key: str, value: str) -> None:
    for venue, dialect in PLAYED:
        if venue.exchange == exchange:
            assert venue.books is not None
            client = Client(dialect, listed=1)
            request = venue.books.request(client.table.symbols[0])
            query = {name: str(text) for name, text in request.params.items()} | {key: value}
            reply = client.get(request.path, 0.0, **query)
            assert reply.status == 400 or json.loads(reply.body)["data"] == []
