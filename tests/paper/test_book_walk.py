"""An order walks a recorded book, which trades since then have moved."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pumpwatch.paper.book_walk import BookWalk
from pumpwatch.paper.orders import BUY, SELL, PaperOrder
from pumpwatch.paper.tape import Book
from tests.paper.tapes import BUYS, ms, tape

D = Decimal
BOOK = Book(ms(100), ((0.99, 10.0), (0.98, 50.0)), ((1.01, 10.0), (1.02, 20.0), (1.1, 50.0)))
TRADES = tape([(50, 1.0, 1, BUYS), (200, 1.0, 1, BUYS), (300, 1.5, 1, BUYS), (400, 0.5, 1, BUYS)]).of(0)


def order(sign: int, quantity: int, limit: str | None = None) -> PaperOrder:
    found = PaperOrder("o1", 0, sign, D(quantity), None if limit is None else D(limit), False, False, 1, 0)
    found.remaining = found.quantity
    return found


@pytest.mark.parametrize(("wanted", "at", "taken"), [
    (order(BUY, 25), 250, [("1.01", 10), ("1.02", 15)]),
    (order(BUY, 500), 250, [("1.01", 10), ("1.02", 20), ("1.1", 50)]),
    (order(BUY, 25, "1.01"), 250, [("1.01", 10)]),
    (order(SELL, 25), 250, [("0.99", 10), ("0.98", 15)]),
    (order(BUY, 5), 350, [("1.515", 5)]),  # it has run away
    (order(SELL, 5), 350, [("0.99", 5)]),  # to our better: not counted
    (order(SELL, 5), 450, [("0.495", 5)])])
def test_levels_are_taken_from_the_best_on(wanted: PaperOrder, at: float, taken: list[tuple[str, int]]) -> None:
    assert BookWalk({0: [BOOK]}).levels_for(wanted, ms(at), TRADES) == [(D(price), D(quantity)) for price, quantity in taken]


def test_what_was_taken_is_not_there_again() -> None:
    walk = BookWalk({0: [BOOK]})
    walk.record_taken(order(BUY, 15), ms(250), D(15))
    assert walk.levels_for(order(BUY, 25), ms(250), TRADES) == [(D("1.02"), D(15)), (D("1.1"), D(10))]
    assert walk.levels_for(order(SELL, 5), ms(250), TRADES) == [(D("0.99"), D(5))]


def test_the_best_level_is_never_better_than_the_last_trade() -> None:
    walk = BookWalk({0: [Book(ms(350), ((0.4, 5.0),), ((0.75, 3.0), (0.8, 5.0)))]})
    assert walk.levels_for(order(BUY, 5), ms(360), TRADES) == [(D("1.5"), D(3)), (D("1.6"), D(2))]


@pytest.mark.parametrize("at", [99, 2101])
def test_a_book_of_later_or_of_long_ago_is_none(at: float) -> None:
    assert BookWalk({0: [BOOK]}).levels_for(order(BUY, 5), ms(at), TRADES) is None


def test_a_side_without_levels_is_none() -> None:
    assert BookWalk({0: [Book(ms(100), (), ())]}).levels_for(order(BUY, 5), ms(150), TRADES) is None
