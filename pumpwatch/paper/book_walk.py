"""Fill orders from a recorded order book.

A book is used for BOOK_NS after its time. Trades since then shift all levels by the ratio of the last trades, only in the
direction that is worse for the order: if the market moves away, its book moves along, and the best level is never better than
the last trade. A level that this account has taken cannot be taken again.
"""

from __future__ import annotations

from bisect import bisect_right
from decimal import Decimal

from pumpwatch.clock import NS_PER_S
from pumpwatch.paper.amounts import price_of, quantity_down, significant
from pumpwatch.paper.orders import BUY, PaperOrder
from pumpwatch.paper.tape import Book, MarketTrades

BOOK_NS = 2 * NS_PER_S  # the time between two snapshots


class BookWalk:
    """The books of one replay, and the quantity taken from each."""

    def __init__(self, books: dict[int, list[Book]]) -> None:
        self._books = books
        self._times = {number: [book.at for book in found] for number, found in books.items()}
        self._taken: dict[tuple[int, int, int], Decimal] = {}

    def levels_for(self, order: PaperOrder, at_ns: int, trades: MarketTrades) -> list[tuple[Decimal, Decimal]] | None:
        """Return the (price, quantity) that an order can take at a time, best first; None without a usable book."""
        place = bisect_right(self._times.get(order.number, []), at_ns) - 1
        if place < 0:
            return None
        book = self._books[order.number][place]
        levels = book.asks if order.sign == BUY else book.bids
        if at_ns - book.at > BOOK_NS or not levels:
            return None
        shift = _shift(order.sign, levels[0][0], trades.last_price(book.at), trades.last_price(at_ns))
        key = (order.number, place, order.sign)
        skip, left, found = self._taken.get(key, Decimal(0)), order.remaining, []
        for raw_price, raw_quantity in levels:
            price = price_of(raw_price) if shift == 1 else significant(raw_price * shift)
            if order.beyond(float(price)) or left <= 0:
                break
            there = quantity_down(raw_quantity)
            passed = min(skip, there)
            skip -= passed
            part = min(there - passed, left)
            if part > 0:
                found.append((price, part))
                left -= part
        return found

    def record_taken(self, order: PaperOrder, at_ns: int, quantity: Decimal) -> None:
        """Record a quantity taken from the book that is used at a time."""
        place = bisect_right(self._times[order.number], at_ns) - 1
        key = (order.number, place, order.sign)
        self._taken[key] = self._taken.get(key, Decimal(0)) + quantity


def _shift(sign: int, best: float, then: float | None, now: float | None) -> float:
    """Return the factor by which levels have moved since the book's time; 1 if they moved to the better side, or if unknown."""
    if now is None:
        return 1.0
    ratios = (1.0, now / best, 1.0 if then is None else now / then)
    return max(ratios) if sign == BUY else min(ratios)
