"""The venues of a replay, order by order. Each tape is short enough to match it by hand."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from pumpwatch.paper.account import PaperAccount
from pumpwatch.paper.cursor import NEVER
from pumpwatch.paper.matching import Matching
from pumpwatch.paper.orders import BUY, SELL, Action, PaperOrder
from pumpwatch.paper.tape import Book, Tape
from tests.paper.tapes import BUYS, SELLS, Row, ms, tape

D = Decimal


def order(sign: int = BUY, quantity: str = "10", *, limit: str | None = None, market: int = 0, name: str = "o1",
          immediate: bool = False, reduce_only: bool = False, leverage: int = 1, **more: Any) -> PaperOrder:
    return PaperOrder(name, market, sign, D(quantity), None if limit is None else D(limit), immediate, reduce_only, leverage,
                      ms(0), **more)


def matched(found: Tape, *orders: tuple[float, PaperOrder], cash: int | str = 1000, share: float = 0.1,
            before: Callable[[PaperAccount], object] = lambda account: None) -> Matching:
    """Return the venues at the end of a tape, after orders that arrive at given ms."""
    account = PaperAccount(D(cash), found.markets)
    before(account)
    matching = Matching(found, account, share, lambda fill, order, at: None)
    for at, sent in orders:
        matching.send(sent, ms(at))
    while matching.next_at <= found.end_ns:
        matching.advance(found.end_ns)
    matching.finish(found.end_ns)
    return matching


def said(matching: Matching) -> list[tuple[object, ...]]:
    """Return what happened but arrivals and marks: kind, ms, and price and quantity or the reason."""
    def row(action: Action) -> tuple[object, ...]:
        at = (action.at - ms(0)) / 1e6
        if action.kind == "filled":
            return action.liquidity, at, str(action.price), float(action.quantity)
        return action.kind, at, action.reason or float(action.quantity)

    return [row(action) for action in matching.log if action.kind not in ("placed", "marked")]


ROWS: list[Row] = [(10, 1.0, 100, BUYS), (20, 1.0, 50, SELLS), (30, 1.1, 60, BUYS), (40, 0.9, 40, SELLS), (50, 0.8, 200, SELLS),
                   (60, 1.2, 500, BUYS)]


@pytest.mark.parametrize(("sent", "happened"), [
    # a market order takes a tenth of each later trade of its own side
    (order(quantity="12"), [("taker", 30, "1.1", 6), ("taker", 60, "1.2", 6)]),
    # a limit below the last trade rests; a trade at it fills nothing, one through it does
    (order(limit="0.9", quantity="30"), [("maker", 50, "0.9", 20), ("cancelled", 100, "the recording ends")]),
    # one that crosses takes up to its limit, and rests after a trade beyond it
    (order(limit="1.1", quantity="12"), [("taker", 30, "1.1", 6), ("cancelled", 100, "the recording ends")]),
    (order(limit="1.05", quantity="12"), [("maker", 40, "1.05", 4), ("maker", 50, "1.05", 8)]),
])
def test_an_order_meets_the_trades_after_its_arrival(sent: PaperOrder, happened: list[tuple[object, ...]]) -> None:
    assert said(matched(tape(ROWS, end_ms=100), (10, sent))) == happened


def test_an_immediate_order_has_a_tenth_of_a_second() -> None:
    late: list[Row] = [*ROWS[:3], (200, 1.1, 60, BUYS)]
    assert said(matched(tape(late), (10, order(limit="1.1", quantity="12", immediate=True)))) == [
        ("taker", 30, "1.1", 6), ("cancelled", 110, "immediate: not filled in time")]


@pytest.mark.parametrize("limit", ["0.99", "1.05"])
def test_an_immediate_order_never_rests(limit: str) -> None:
    found = said(matched(tape(ROWS), (10, order(limit=limit, quantity="12", immediate=True))))
    assert found == [("cancelled", 10 if limit == "0.99" else 30, "immediate: not filled in time")]


def test_two_orders_divide_the_share_of_a_trade() -> None:
    found = matched(tape(ROWS, end_ms=45), (10, order(quantity="4", name="o1")), (10, order(quantity="4", name="o2")))
    assert said(found) == [("taker", 30, "1.1", 4), ("taker", 30, "1.1", 2), ("cancelled", 45, "the recording ends")]


def test_a_book_comes_first_and_trades_give_the_rest() -> None:
    books = {0: [Book(ms(5), ((0.99, 5.0),), ((1.01, 3.0), (1.02, 4.0)))]}
    assert said(matched(tape(ROWS, end_ms=100, books=books), (10, order(quantity="12")))) == [
        ("taker", 10, "1.01", 3), ("taker", 10, "1.02", 4), ("taker", 30, "1.1", 5)]
    assert said(matched(tape(ROWS, end_ms=100, books=books), (10, order(limit="1.01", quantity="5")))) == [
        ("taker", 10, "1.01", 3), ("maker", 20, "1.01", 2)]


def test_a_fill_costs_no_more_than_the_balance() -> None:
    found = matched(tape(ROWS, end_ms=100), (10, order(quantity="12")), cash=13)
    assert [row[0] for row in said(found)] == ["taker", "taker", "cancelled"]
    assert said(found)[2][2] == "the balance pays for no more"
    assert 0 <= found.account.cash < D("0.0001")


def test_open_limit_orders_keep_their_money() -> None:
    found = matched(tape(ROWS, end_ms=15), (10, order(limit="0.5", quantity="1900")), (11, order(quantity="60", name="o2")))
    assert said(found)[0] == ("rejected", 11, "not enough balance: at 1.0 it pays for 49.95004994")


def test_reduce_only_never_goes_beyond_zero() -> None:
    sells: list[Row] = [(10, 1.0, 100, SELLS), (20, 1.0, 1000, SELLS)]
    found = matched(tape([], sells), (15, order(SELL, "50", market=1, reduce_only=True)),
                    before=lambda account: account.fill(1, 1, D(1), D(20), 1, taker=True))
    assert said(found) == [("taker", 20, "1.0", 20), ("cancelled", 20, "nothing is left to reduce")]


def test_a_position_is_liquidated_by_the_mark_and_its_orders_end() -> None:
    falls: list[Row] = [(10, 1.0, 10_000, BUYS), (20, 1.0, 10_000, BUYS), (30, 0.82, 10, SELLS), (40, 0.8, 10, SELLS),
                        (50, 2.0, 10_000, BUYS)]
    found = matched(tape([], falls, end_ms=60), (15, order(quantity="100", market=1, leverage=5)),
                    (25, order(SELL, "100", limit="1.5", market=1, leverage=5, reduce_only=True, name="o2")))
    assert said(found) == [("taker", 20, "1.0", 100), ("cancelled", 40, "the position was liquidated"), ("liquidated", 40, 100)]
    assert found.account.cash == 1000 - 20 - D("0.05")
    assert found.log[-1].price == D("0.8")


def test_another_leverage_than_that_of_the_open_position_is_rejected() -> None:
    rows: list[Row] = [(10, 1.0, 10_000, BUYS), (20, 1.0, 10_000, BUYS)]
    found = matched(tape([], rows), (15, order(market=1, leverage=5)), (25, order(market=1, leverage=2, name="o2")))
    assert said(found)[1] == ("rejected", 25, "leverage 2: the open position has 5")


def test_a_cancellation_stops_an_order_also_one_that_has_not_arrived() -> None:
    found = tape(ROWS, end_ms=100)
    for cancelled_at, happened in ((35, [("taker", 30, "1.1", 6), ("cancelled", 35, "cancelled by the strategy")]), (9, [])):
        matching = Matching(found, PaperAccount(D(1000), found.markets), 0.1, lambda fill, order, at: None)
        matching.send(order(quantity="12"), ms(10))
        matching.send_cancel("o1", ms(cancelled_at))
        matching.send_cancel("o9", ms(cancelled_at))
        while matching.next_at < NEVER:
            matching.advance(found.end_ns)
        matching.finish(found.end_ns)
        assert said(matching)[:2] == happened


@pytest.mark.parametrize(("sent", "happened"), [
    # the trade that reaches the stop fills nothing itself; after it this is a limit order
    (order(limit="1.05", quantity="4", stop=D("1.1")), [("triggered", 30, 0), ("maker", 40, "1.05", 4)]),
    (order(limit="1.3", quantity="4", stop=D("1.0")), [("triggered", 10, 0), ("taker", 30, "1.1", 4)]),
    (order(limit="1.3", quantity="4", stop=D("1.3")), [("cancelled", 100, "the recording ends")]),
    (order(SELL, limit="0.5", quantity="4", stop=D("0.9"), market=1), [("triggered", 40, 0), ("taker", 50, "0.8", 4)])])
def test_a_stop_order_waits_for_a_trade_at_its_stop(sent: PaperOrder, happened: list[tuple[object, ...]]) -> None:
    assert said(matched(tape(ROWS, ROWS, end_ms=100), (10, sent))) == happened


@pytest.mark.parametrize(("quantity", "cash", "fills"), [("7", 1000, [3, 4]), ("8", 1000, []), ("7", "7.05", [])])
def test_a_fill_or_kill_order_is_filled_whole_by_the_book_or_not_at_all(quantity: str, cash: int | str, fills: list[int]) -> None:
    books = {0: [Book(ms(5), (), ((1.01, 3.0), (1.02, 4.0)))]}
    found = said(matched(tape(ROWS, books=books), (10, order(quantity=quantity, whole=True)), cash=cash))
    assert [row[3] for row in found if row[0] == "taker"] == fills
    assert fills or found == [("cancelled", 10, "fill or kill: no recorded book fills it whole")]


def test_without_a_book_a_fill_or_kill_order_ends() -> None:
    assert [row[0] for row in said(matched(tape(ROWS), (10, order(whole=True))))] == ["cancelled"]


def test_a_book_beyond_the_liquidation_price_takes_the_margin_and_no_more() -> None:
    books = {1: [Book(ms(5), ((0.5, 100.0),), ())]}
    found = matched(tape([], ROWS, end_ms=25, books=books), (12, order(SELL, "100", market=1, reduce_only=True, name="o2")),
                    before=lambda account: account.fill(1, 1, D(1), D(100), 10, taker=True))
    assert [row[0] for row in said(found)] == ["cancelled", "liquidated"]
    assert found.account.cash == 1000 - D("0.05") - 10
