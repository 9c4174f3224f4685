"""The price of a market buy by the book is arithmetic: these are its golden windows."""

from __future__ import annotations

import pytest

from pumpwatch.clock import NS_PER_MS
from pumpwatch.listing.book_figures import book_buys
from pumpwatch.listing.books import Snapshot, snapshot_of
from pumpwatch.order_book import OrderBook
from tests.listing.market import ANNOUNCED_NS


def book(after_ms: int, asks: list[tuple[float, float]], *, venue_time: bool = True, took_ms: int = 0) -> Snapshot:
    at_ns = ANNOUNCED_NS + after_ms * NS_PER_MS
    made = OrderBook(bids=[(asks[0][0] * 0.9, 1.0)] if asks else [], asks=asks, at_ns=at_ns if venue_time else 0)
    return snapshot_of("KITEUSDT", made, at_ns - took_ms * NS_PER_MS, at_ns + took_ms * NS_PER_MS)


def row(snapshots: list[Snapshot], value: float, delay_ms: int, before: float | None = 10.0) -> dict[str, object]:
    found = book_buys(snapshots, before, ANNOUNCED_NS)
    assert found is not None
    (row,) = [row for row in found if (row["value"], row["delay_ms"]) == (value, delay_ms)]
    return row


def test_a_buy_takes_the_asks_from_the_best_one_up() -> None:
    # 10 x 40 = 400, 12 x 25 = 300, then 300 of the 20 x 30: 40 + 25 + 15 = 80 coins for 1,000
    assert row([book(100, [(10.0, 40.0), (12.0, 25.0), (20.0, 30.0)])], 1000.0, 100) == {
        "value": 1000.0, "delay_ms": 100, "book_after_ms": 0.0, "value_found": 1000.0, "price": 12.5, "worst_price": 20.0,
        "over_before_percent": 25.0, "slippage_percent": 25.0}


def test_a_level_that_is_exactly_enough_is_the_last() -> None:
    found = row([book(100, [(10.0, 100.0), (20.0, 30.0)])], 1000.0, 100)
    assert (found["price"], found["worst_price"], found["slippage_percent"]) == (10.0, 10.0, 0.0)


def test_levels_that_hold_less_have_no_price() -> None:
    found = row([book(100, [(10.0, 40.0), (12.0, 25.0)])], 10_000.0, 100)
    assert (found["price"], found["value_found"], found["book_after_ms"]) == (None, 700.0, 0.0)
    assert row([book(100, [])], 1000.0, 100)["value_found"] == 0.0


def test_the_nearest_snapshot_counts_whether_before_or_after_the_moment() -> None:
    books = [book(-1500, [(10.0, 1000.0)]), book(450, [(11.0, 1000.0)]), book(2500, [(12.0, 1000.0)])]
    found = {delay: row(books, 1000.0, delay) for delay in (100, 300, 1000, 3000)}
    assert {delay: (entry["price"], entry["book_after_ms"]) for delay, entry in found.items()} == {
        100: (11.0, 350.0), 300: (11.0, 150.0), 1000: (11.0, -550.0), 3000: (12.0, -500.0)}


def test_a_snapshot_far_away_says_nothing() -> None:
    found = row([book(2101, [(10.0, 1000.0)])], 1000.0, 100)
    assert (found["book_after_ms"], found["price"], found["value_found"]) == (None, None, 0.0)
    assert row([book(2100, [(10.0, 1000.0)])], 1000.0, 100)["book_after_ms"] == 2000.0


def test_without_the_venues_time_the_middle_of_question_and_answer_counts() -> None:
    found = row([book(160, [(10.0, 1000.0)], venue_time=False, took_ms=50)], 1000.0, 100)
    assert found["book_after_ms"] == 60.0


def test_without_a_price_before_or_a_snapshot_figures_are_absent() -> None:
    assert row([book(100, [(10.0, 1000.0)])], 1000.0, 100, None)["over_before_percent"] is None
    assert book_buys([], 10.0, ANNOUNCED_NS) is None


def test_the_price_is_the_value_over_the_quantity_at_any_scale() -> None:
    found = row([book(1000, [(1.5e-7, 1e9), (1.6e-7, 1e12)])], 1000.0, 1000)
    assert found["price"] == pytest.approx(1000 / (1e9 + 850 / 1.6e-7))
