"""A book has the levels of the dialect's own book, in base units and in order, or the check says where it does not."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from pumpwatch_plugins.exchanges.okx import VENUES
from pumpwatch_plugins.simulators.okx import simulator_dialects

from pumpwatch.model import Instrument
from pumpwatch.order_book import OrderBook
from pumpwatch.plugin_kit.check_books import check_books
from pumpwatch.plugin_kit.samples import Samples, SimulatedVenue
from pumpwatch.plugin_kit.sandbox import attempt
from pumpwatch.venue import HttpRequest
from tests.plugin_kit.good_venue import results

SWAPS = VENUES[1]
REQUESTS, SIDES = "books: requests", "books: levels"
assert SWAPS.books is not None
BOOKS = SWAPS.books
NUMBERS = itertools.count()


def checked(**facts: Any) -> dict[str, tuple[str, str]]:
    venue = dataclasses.replace(SWAPS, books=dataclasses.replace(BOOKS, **facts))
    return results(check_books(venue, Samples(simulated=SimulatedVenue(venue, simulator_dialects()[1]))))


def reading(change: Callable[[OrderBook], OrderBook]) -> Callable[[bytes, Instrument], OrderBook]:
    return lambda body, instrument: change(BOOKS.parse(body, instrument))


def test_a_book_of_contracts_has_the_dialects_levels_in_base_units() -> None:
    found = checked()
    assert [state for state, _ in found.values()] == ["ok", "ok"]
    assert found[REQUESTS][1] == "each has the weight 1, the limit is 600 a minute"
    assert found[SIDES][1].startswith("100 levels of ")


@pytest.mark.parametrize(("request_of", "says"), [
    (lambda symbol: HttpRequest("books"), "does not begin with /"),
    (lambda symbol: HttpRequest("/books", weight=10_000), "the weight is 10000"),
    (lambda symbol: 1 / 0, "ZeroDivisionError"),
    (lambda symbol: HttpRequest(f"/{next(NUMBERS)}"), "a different request the second time"),
])
def test_requests_that_cannot_be_right_are_named(request_of: Callable[[str], Any], says: str) -> None:
    state, detail = checked(request=request_of)[REQUESTS]
    assert (state, says in detail) == ("fail", True), detail


@pytest.mark.parametrize(("change", "says"), [
    (lambda book: dataclasses.replace(book, bids=[(price, size * 100) for price, size in book.bids]), "in base units"),
    (lambda book: dataclasses.replace(book, bids=book.asks[::-1], asks=book.bids[::-1]), "level 0 is"),
    (lambda book: dataclasses.replace(book, asks=()), "asks of 0 levels"),
    (lambda book: dataclasses.replace(book, at_ns=book.at_ns // 1000), "is its unit wrong?"),
])
def test_a_book_that_differs_from_the_dialects_is_named(change: Callable[[OrderBook], OrderBook], says: str) -> None:
    state, detail = checked(parse=reading(change))[SIDES]
    assert (state, says in detail) == ("fail", True), detail


def test_a_parser_that_takes_half_a_body_or_breaks_is_named() -> None:
    def breaking(body: bytes, instrument: Instrument) -> OrderBook:
        if attempt(BOOKS.parse, body, instrument).error is not None:
            raise SystemError("not a book")
        return BOOKS.parse(body, instrument)

    def lenient(body: bytes, instrument: Instrument) -> OrderBook:
        return attempt(BOOKS.parse, body, instrument).value or OrderBook(bids=(), asks=())

    assert "it raises SystemError" in checked(parse=breaking)[SIDES][1]
    assert "half a body is accepted" in checked(parse=lenient)[SIDES][1]


def test_a_venue_without_books_has_no_row() -> None:
    assert check_books(dataclasses.replace(SWAPS, books=None), Samples()) == []


def test_without_a_dialect_the_requests_are_checked_alone() -> None:
    assert [row.check for row in check_books(SWAPS, Samples())] == [REQUESTS]
