"""A book is two sides in order, of positive numbers, in base units; what else a venue may send is rejected."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pumpwatch.errors import REFUSALS, BadFrame
from pumpwatch.model import Instrument
from pumpwatch.order_book import LEVELS, OrderBook, book_reader

LOTS = Instrument(symbol="ACMEUSDTM", base="ACME", quote="USDT", contract_size=0.5)
SCALED = Instrument(symbol="sACMEUSDT", base="ACME", quote="USDT", contract_size=1e-8, price_divisor=1e8)


def body(**facts: Any) -> bytes:
    usual = {"bids": [["9", "1"], ["10", "2"]], "asks": [["12", "4"], ["11", "3"]]}
    return json.dumps(usual | facts).encode()


def test_sides_are_sorted_and_contracts_become_base_units() -> None:
    book = book_reader()(body(), LOTS)
    assert book == OrderBook(bids=[(10.0, 1.0), (9.0, 0.5)], asks=[(11.0, 1.5), (12.0, 2.0)])


def test_scaled_integers_become_prices_and_quantities() -> None:
    book = book_reader()(body(bids=[[250_000_000, 700_000_000]], asks=[]), SCALED)
    assert (book.bids, book.asks) == ([(2.5, 7.0)], [])


def test_the_best_levels_are_kept_and_those_without_a_quantity_left_out() -> None:
    rows = [[str(price), "1"] for price in range(100, 200)]
    book = book_reader()(body(bids=rows, asks=[*rows, ["99", "0"]]), LOTS)
    assert [book.bids[0][0], book.bids[-1][0], book.asks[0][0], book.asks[-1][0]] == [199, 150, 100, 149]
    assert len(book.bids) == len(book.asks) == LEVELS


@pytest.mark.parametrize(("time", "unit_ns", "at_ns"), [
    (1_791_002_100_123, 10**6, 1_791_002_100_123_000_000), ("1791002100123", 10**6, 1_791_002_100_123_000_000),
    (1_791_002_100.123, 10**9, 1_791_002_100_123_000_000), (1_791_002_100, 10**9, 1_791_002_100_000_000_000),
    (1_791_002_100_123_456_789, 1, 1_791_002_100_123_456_789),
])
def test_a_time_is_read_in_its_unit(time: Any, unit_ns: int, at_ns: int) -> None:
    assert book_reader(time=("t", unit_ns))(body(t=time), LOTS).at_ns == at_ns


def test_levels_may_be_objects_and_carry_a_number_and_a_symbol() -> None:
    parse = book_reader(level=("p", "s"), sequence="id", symbol="symbol", bids="b", asks="a")
    given = body(b=[{"p": "1", "s": 10}], a=[{"p": "2", "s": "5"}], id="77", symbol="ACMEUSDTM")
    assert parse(given, LOTS) == OrderBook(bids=[(1.0, 5.0)], asks=[(2.0, 2.5)], sequence=77)
    with pytest.raises(BadFrame, match="another symbol"):
        parse(given, SCALED)


@pytest.mark.parametrize("facts", [
    {"bids": [["10", "1"], ["10", "2"]]}, {"bids": [["-1", "1"]]}, {"asks": [["1", "-1"]]}, {"asks": [["0", "1"]]},
    {"bids": [["NaN", "1"]]}, {"bids": [["1e400", "1"]]}, {"bids": "9"}, {"bids": ["97"]}, {"bids": [["9"]]}, {"bids": None},
    {"asks": [{"p": 1}]}, {"t": -1}, {"t": 2**64}, {"t": 1e300}, {"t": "x"}, {"t": None}, {"n": 2**63}, {"n": -5}, {"n": "1.5"},
])
def test_what_is_not_a_book_is_rejected(facts: dict[str, Any]) -> None:
    with pytest.raises(REFUSALS):
        book_reader(time=("t", 10**6), sequence="n")(body(**({"t": 1, "n": 1} | facts)), LOTS)


@pytest.mark.parametrize("given", [b"", b"null", b"[]", b"{}", b"<html></html>", body()[:40]])
def test_another_body_is_rejected(given: bytes) -> None:
    with pytest.raises(REFUSALS):
        book_reader()(given, LOTS)


def test_a_book_that_crosses_is_kept_as_it_is() -> None:
    book = book_reader()(body(bids=[["12", "1"]], asks=[["11", "1"]]), LOTS)
    assert book.bids[0][0] > book.asks[0][0]


@pytest.mark.parametrize("sides", [{"bids": [(1.0, 1.0), (2.0, 1.0)], "asks": []}, {"bids": [], "asks": [(2.0, 1.0), (1.0, 1.0)]},
                                   {"bids": [(1.0 + number, 1.0) for number in range(LEVELS, -1, -1)], "asks": []}])
def test_sides_out_of_order_or_too_long_are_not_a_book(sides: dict[str, Any]) -> None:
    with pytest.raises(BadFrame):
        OrderBook(**sides)


def test_the_best_levels_of_a_book_are_a_book_and_one_with_few_levels_is_itself() -> None:
    book = OrderBook(bids=[(3.0, 1.0), (2.0, 1.0)], asks=[(4.0, 1.0)], at_ns=5, sequence=6)
    assert book.best(1) == OrderBook(bids=[(3.0, 1.0)], asks=[(4.0, 1.0)], at_ns=5, sequence=6)
    assert book.best(2) is book
