"""Rows of market data: short numbers in tables, null in JSON for what is not known."""

from __future__ import annotations

import json
import math

from pumpwatch.commands.cells import venue_cell
from pumpwatch.commands.market_tables import (
    BOOKS,
    CANDLES,
    STATS,
    TICKERS,
    book_record,
    book_row,
    stats_record,
    stats_row,
    ticker_record,
    ticker_row,
    told_apart,
)
from pumpwatch.commands.table import render
from pumpwatch.market.answers import Found, SymbolStats
from pumpwatch.order_book import OrderBook
from pumpwatch.ticker import Ticker

NAME = ("binance", "futures", "SOMIUSDT")
LONG = ("binance", "futures", "1000000BABYDOGEUSDT")


def test_a_ticker_fits_the_width_and_says_its_age() -> None:
    ticker = Ticker(price=0.000012345678, at_ns=5, open_24h=0.00001, high=0.00002, low=0.000009, volume=1.5e12, quote_volume=2e7,
                    trades=9)
    for name in (NAME, LONG):
        lines = render(TICKERS, [ticker_row(Found(*name, ticker, "disk", 12.0))], 80)
        assert all(len(line) <= 80 for line in lines) and "+23.46 %" in lines[1] and "12 s" in lines[1]


def test_figures_that_are_not_known_are_null() -> None:
    record = json.loads(json.dumps(ticker_record(Found(*NAME, Ticker(price=1.0), "venue"))))
    assert (record["high"], record["trades"], record["change"], record["price"]) == (None, None, None, 1.0)
    missing = ticker_record(Found(*NAME, problem="HTTP 503"))
    assert missing["price"] is None and missing["problem"] == "HTTP 503"


def test_a_book_shows_its_spread_and_the_value_of_each_side() -> None:
    book = OrderBook(bids=[(99.0, 10.0), (98.0, 1.0)], asks=[(101.0, 2.0)], at_ns=5)
    lines = render(BOOKS, [book_row(Found(*NAME, book, "cache", 1.0))], 100)
    assert "2.000 %" in lines[1] and "1.09k" in lines[1] and "202" in lines[1]
    record = book_record(Found(*NAME, book, "cache", 1.0))
    assert (record["bid"], record["ask"], record["spread"], len(record["bids"])) == (99.0, 101.0, 0.02, 2)


def test_a_book_with_one_side_has_no_spread() -> None:
    found = Found(*NAME, OrderBook(bids=[(99.0, 10.0)], asks=()), "venue")
    assert book_record(found)["spread"] is None and book_row(found)[4] == "" and book_record(Found(*NAME))["bids"] == []


def test_statistics_say_since_when_and_whether_trades_may_be_missing() -> None:
    stats = SymbolStats(from_ns=0, to_ns=86_400 * 10**9, first_ns=5, open=1.0, high=2.0, low=0.5, close=1.5, volume=10.0,
                  quote_volume=math.nan, taker_buy_volume=1.0, trades=-1, exact=False, complete=False)
    lines = render(STATS, [stats_row(Found(*NAME, stats, "store"))], 120)
    assert "may be incomplete" in lines[1] and "+50.00 %" in lines[1]
    record = stats_record(Found(*NAME, stats, "store"))
    assert (record["trades"], record["quote_volume"], record["close"], record["exact"]) == (None, None, 1.5, False)


def test_symbols_of_one_venue_are_told_apart_in_a_narrow_table() -> None:
    ticker = Ticker(price=0.0000081062, open_24h=0.000008, high=0.0000081066, low=0.0000080998, volume=66.9e9)
    other = ("binance", "futures", "1000PEPEUSDT")
    rows = [ticker_row(Found(*name, ticker, "memory", 12.0)) for name in (NAME, other)]
    lines = render(told_apart(TICKERS, rows), rows, 80)
    assert len(lines) == 3 and "SOMIUSDT" in lines[1] and "1000PEPEUSDT" in lines[2] and all(len(line) <= 80 for line in lines)
    assert told_apart(TICKERS, rows[:1]) == list(TICKERS)


def test_a_price_that_did_not_move_has_no_sign() -> None:
    for price, change in ((0.999999, "0.00 %"), (1.000001, "0.00 %"), (0.999, "-0.10 %"), (1.1, "+10.00 %"), (2.1, "+110.00 %")):
        assert ticker_row(Found(*NAME, Ticker(price=price, open_24h=1.0), "venue"))[3] == change


def test_the_volume_of_a_candle_is_left_out_before_a_price_is_broken() -> None:
    price = "0.0000080991"
    row = ("12:34:00", venue_cell("binance", "spot"), "BABYDOGEUSDT", price, price, price, price, "1.5M", "9", "trades", "")
    line = render(CANDLES, [row], 80)[1:]
    assert len(line) == 1 and line[0].count(price) == 4 and "binance.s" in line[0] and "1.5M" not in line[0]
    assert "1.5M" in render(CANDLES, [row], 120)[1]
