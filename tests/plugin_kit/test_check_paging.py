"""A history is read page by page as its depth says; one that is said to reach further, or in another order, is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from pumpwatch_plugins.exchanges.binance import VENUES as BINANCE
from pumpwatch_plugins.exchanges.okx import VENUES as OKX
from pumpwatch_plugins.exchanges.phemex import VENUES as PHEMEX
from pumpwatch_plugins.simulators.binance import FUTURES_DIALECT, SPOT_DIALECT
from pumpwatch_plugins.simulators.okx import simulator_dialects as okx_dialects
from pumpwatch_plugins.simulators.phemex import simulator_dialects as phemex_dialects

from pumpwatch.model import Columns
from pumpwatch.plugin_kit.check_paging import check_paging
from pumpwatch.plugin_kit.samples import Samples, SimulatedVenue
from pumpwatch.venue import AggregatedHistory, HistoryQuery, HttpRequest, Venue
from tests.plugin_kit.good_venue import results

SPOT, FUTURES = BINANCE[:2]
PAGES, AGGREGATED = "history: pages", "history: aggregated"


def checked(venue: Venue, dialect: Any) -> dict[str, tuple[str, str]]:
    return results(check_paging(venue, Samples(simulated=SimulatedVenue(venue, dialect))))


def with_depth(venue: Venue, **facts: Any) -> Venue:
    return dataclasses.replace(venue, history=dataclasses.replace(venue.history, **facts))


@pytest.mark.parametrize(("venue", "dialect", "says"), [
    (SPOT, SPOT_DIALECT, "rows by id in 2 pages, oldest first"),
    (FUTURES, FUTURES_DIALECT, "the newest 1,000 rows for any query"),
    (OKX[1], okx_dialects()[1], "rows by time in 17 pages"),
    (OKX[1], okx_dialects()[1], "rows by id in 17 pages, newest first"),
    (PHEMEX[0], phemex_dialects()[0], "rows for any query"),
])
def test_a_history_is_read_to_its_end_in_both_directions(venue: Venue, dialect: Any, says: str) -> None:
    state, detail = checked(venue, dialect)[PAGES]
    assert (state, says in detail) == ("ok", True), detail


@pytest.mark.parametrize(("facts", "says"), [
    ({"oldest_first": False}, "the first page does not have the newest row of its query: see oldest_first"),
    ({"by_time": True}, "by time: "),
    ({"rows_per_request": 500}, "an answer has 1,000 rows, but rows_per_request is 500"),
])
def test_a_depth_that_says_too_much_is_named(facts: dict[str, Any], says: str) -> None:
    state, detail = checked(with_depth(SPOT, **facts), SPOT_DIALECT)[PAGES]
    assert (state, says in detail) == ("fail", True), detail


def test_rows_that_use_up_an_id_are_missing_unless_the_history_skips_ids() -> None:
    venue = with_depth(FUTURES, skips_ids=False)
    dialect = dataclasses.replace(FUTURES_DIALECT, flag_shares={4: 0.1})
    state, detail = checked(venue, dialect)[PAGES]
    assert state == "fail" and "trades are missing after 1 page" in detail
    assert checked(FUTURES, dialect)[PAGES][0] == "ok"


def test_reading_a_history_ends_after_a_page_without_a_new_row() -> None:
    asked: list[int] = []

    def request(query: HistoryQuery) -> HttpRequest:
        asked.append(query.first_id)
        return SPOT.history_request(HistoryQuery(query.symbol, 0, 0, asked[1] if len(asked) > 1 else -1))

    state, detail = checked(dataclasses.replace(SPOT, history_request=request), SPOT_DIALECT)[PAGES]
    assert state == "fail" and "trades are missing after 2 pages" in detail
    assert len(asked) == 3


def test_a_history_of_many_more_pages_than_rows_is_given_up() -> None:
    def request(query: HistoryQuery) -> HttpRequest:
        made = SPOT.history_request(query)
        return dataclasses.replace(made, params={**made.params, "limit": 1})

    state, detail = checked(dataclasses.replace(SPOT, history_request=request), SPOT_DIALECT)[PAGES]
    assert state == "fail" and "take more than 9 pages" in detail


@pytest.mark.parametrize(("change", "says"), [
    (lambda columns: setattr(columns, "price", [price * 2 for price in columns.price]), "rows match no trade of the dialect"),
    (lambda columns: setattr(columns, "sell", [not sell for sell in columns.sell]), "rows match no trade of the dialect"),
    (lambda columns: setattr(columns, "symbol", ["ETHUSDT"] * len(columns.symbol)), "rows of another symbol than BTCUSDT"),
    (lambda columns: columns.trade_id[10**6], "the answer cannot be read"),
])
def test_a_row_with_another_value_than_its_trade_is_named(change: Callable[[Columns], Any], says: str) -> None:
    def parse(body: bytes, symbol: str, columns: Columns) -> None:
        SPOT.parse_history(body, symbol, columns)
        change(columns)

    state, detail = checked(dataclasses.replace(SPOT, parse_history=parse), SPOT_DIALECT)[PAGES]
    assert (state, says in detail) == ("fail", True), detail


def test_an_aggregated_history_covers_every_trade_with_its_ids_and_quantity() -> None:
    state, detail = checked(FUTURES, FUTURES_DIALECT)[AGGREGATED]
    assert state == "ok" and "of them join several trades" in detail, detail
    assert AGGREGATED not in checked(SPOT, SPOT_DIALECT)


def no_flags(columns: Columns) -> None:
    columns.flags = {}


def no_void_rows(columns: Columns) -> None:
    columns.void = []


def void_rows_first(columns: Columns) -> None:
    columns.void = [0, *columns.void]


def halves(columns: Columns) -> None:
    columns.quantity = [quantity / 2 for quantity in columns.quantity]


@pytest.mark.parametrize(("change", "says"), [
    (no_flags, "without Flag.AGGREGATED"), (no_void_rows, ", its trades "),
    (void_rows_first, "void rows come before the row that they belong to"), (halves, ", its trades "),
])
def test_an_aggregated_history_that_hides_its_joined_trades_is_reported(change: Callable[[Columns], None], says: str) -> None:
    deeper = FUTURES.aggregated_history
    assert deeper is not None

    def parse(body: bytes, symbol: str, columns: Columns) -> None:
        deeper.parse(body, symbol, columns)
        change(columns)

    venue = dataclasses.replace(FUTURES, aggregated_history=AggregatedHistory(depth=deeper.depth, request=deeper.request,
                                                                              parse=parse))
    state, detail = checked(venue, FUTURES_DIALECT)[AGGREGATED]
    assert (state, says in detail) == ("fail", True), detail


def test_without_a_dialect_or_a_history_there_is_nothing_to_read() -> None:
    assert check_paging(SPOT, Samples()) == []
    assert checked(with_depth(SPOT, rows_per_request=0, pages=False), SPOT_DIALECT) == {}
