"""A ticker has the figures of the dialect's trades, in base units, or the check says where it does not."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from pumpwatch_plugins.exchanges.okx import VENUES
from pumpwatch_plugins.simulators.okx import simulator_dialects

from pumpwatch.model import Instrument
from pumpwatch.plugin_kit.check_tickers import check_tickers
from pumpwatch.plugin_kit.samples import Samples, SimulatedVenue
from pumpwatch.plugin_kit.sandbox import attempt
from pumpwatch.ticker import Ticker
from pumpwatch.venue import HttpRequest
from tests.plugin_kit.good_venue import results

SWAPS = VENUES[1]
REQUESTS, FIGURES = "tickers: requests", "tickers: figures"
assert SWAPS.tickers is not None
TICKERS = SWAPS.tickers
NUMBERS = itertools.count()


def checked(**facts: Any) -> dict[str, tuple[str, str]]:
    venue = dataclasses.replace(SWAPS, tickers=dataclasses.replace(TICKERS, **facts))
    return results(check_tickers(venue, Samples(simulated=SimulatedVenue(venue, simulator_dialects()[1]))))


def reading(change: Callable[[Ticker], Ticker]) -> Callable[[bytes, Instrument], Ticker]:
    return lambda body, instrument: change(TICKERS.parse(body, instrument))


def test_a_ticker_of_contracts_has_the_figures_of_the_trades() -> None:
    found = checked()
    assert [state for state, _ in found.values()] == ["ok", "ok"]
    assert found[REQUESTS][1] == "each has the weight 1, the limit is 600 a minute"
    assert found[FIGURES][1].startswith("price, open_24h, high, low, volume, bid, ask of ")


@pytest.mark.parametrize(("request_of", "says"), [
    (lambda symbol: HttpRequest("ticker"), "does not begin with /"),
    (lambda symbol: HttpRequest("/ticker", weight=10_000), "the weight is 10000"),
    (lambda symbol: 1 / 0, "ZeroDivisionError"),
    (lambda symbol: HttpRequest(f"/{next(NUMBERS)}"), "a different request the second time"),
])
def test_requests_that_cannot_be_right_are_named(request_of: Callable[[str], Any], says: str) -> None:
    state, detail = checked(request=request_of)[REQUESTS]
    assert (state, says in detail) == ("fail", True), detail


@pytest.mark.parametrize(("change", "says"), [
    (lambda ticker: dataclasses.replace(ticker, volume=ticker.volume * 100), "volume is"),
    (lambda ticker: dataclasses.replace(ticker, open_24h=ticker.open_24h * 1.01), "open_24h is"),
    (lambda ticker: dataclasses.replace(ticker, trades=1), "1 trades, the dialect has"),
    (lambda ticker: dataclasses.replace(ticker, at_ns=ticker.at_ns // 1000), "is its unit wrong?"),
    (lambda ticker: dataclasses.replace(ticker, price=0.0), "rejects the answer"),
])
def test_a_ticker_that_differs_from_the_dialects_is_named(change: Callable[[Ticker], Ticker], says: str) -> None:
    state, detail = checked(parse=reading(change))[FIGURES]
    assert (state, says in detail) == ("fail", True), detail


def test_a_parser_that_takes_half_a_body_or_breaks_is_named() -> None:
    def breaking(body: bytes, instrument: Instrument) -> Ticker:
        if attempt(TICKERS.parse, body, instrument).error is not None:
            raise SystemError("not a ticker")
        return TICKERS.parse(body, instrument)

    def lenient(body: bytes, instrument: Instrument) -> Ticker:
        return attempt(TICKERS.parse, body, instrument).value or Ticker(price=1.0)

    assert "it raises SystemError" in checked(parse=breaking)[FIGURES][1]
    assert "half a body is accepted" in checked(parse=lenient)[FIGURES][1]


def test_a_venue_without_tickers_has_no_row() -> None:
    assert check_tickers(dataclasses.replace(SWAPS, tickers=None), Samples()) == []


def test_without_a_dialect_the_requests_are_checked_alone() -> None:
    assert [row.check for row in check_tickers(SWAPS, Samples())] == [REQUESTS]
