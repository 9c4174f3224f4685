"""A fault of an instrument list is logged once, and so is its end."""

from __future__ import annotations

import logging

from pumpwatch.config import VenueConfig
from pumpwatch.feeds.list_reports import ListReports
from pumpwatch.model import Instrument
from pumpwatch.stats import Stats
from tests.feeds.scripted import SPOT


def listed(*symbols: str) -> list[Instrument]:
    return [Instrument(symbol=symbol, base=symbol.removesuffix("USDT"), quote="USDT") for symbol in symbols]


def test_a_problem_is_logged_once_and_so_is_its_end(caplog):
    caplog.set_level(logging.INFO, "pumpwatch.feeds")
    reports = ListReports(SPOT, VenueConfig(), Stats())
    for problem in ("HTTP 500", "HTTP 502", "", ""):
        reports.report(problem, 20, has_list=True)
    assert [record.getMessage().partition(" venue=")[0] for record in caplog.records] == [
        "instrument list is unreliable, reading goes on", "instrument list is good again"]


def test_an_impossible_row_is_logged_and_counted_once(caplog):
    stats = Stats()
    reports = ListReports(SPOT, VenueConfig(), stats)
    reports.report_impossible("row")
    reports.report_impossible("row")
    assert caplog.text.count("listed instrument is invalid") == 1
    assert stats.get("impossible_instruments_total", venue=SPOT.name) == 1


def test_coins_and_symbols_that_are_not_listed_are_known_and_logged(caplog):
    reports = ListReports(SPOT, VenueConfig(coins=["C"], symbols=["btc-usdt"]), Stats())
    reports.review_coins([])
    reports.review_symbols(listed("BTCUSDT"))
    assert reports.absent_coins == {"C"} and reports.nothing_chosen and reports.unlisted == {"btc-usdt": "BTCUSDT"}
    assert "nothing is read" in caplog.text and "configured symbol is not listed" in caplog.text
    reports.review_coins(listed("CUSDT"))
    reports.review_symbols(listed("btc-usdt"))
    assert not reports.nothing_chosen and not reports.unlisted
