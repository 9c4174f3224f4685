"""A ticker has possible figures in base units, or it is rejected."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from pumpwatch.errors import REFUSALS, BadFrame
from pumpwatch.model import Instrument
from pumpwatch.ticker import Ticker, ticker_reader

COIN = Instrument(symbol="SOMIUSDT", base="SOMI", quote="USDT", contract_size=0.1, price_divisor=100.0)
NAMES = {"price": "last", "open_24h": "open", "high": "high", "low": "low", "volume": "vol", "quote_volume": "turnover",
         "trades": "count", "bid": "bid", "ask": "ask"}
BODY = {"s": "SOMIUSDT", "last": "110", "open": "100", "high": 120, "low": "90", "vol": "50", "turnover": "525", "count": 7,
        "bid": "109", "ask": "110", "ts": "1791002000123"}


def read(changes: dict[str, Any] | None = None, names: dict[str, str] | None = None) -> Ticker:
    reader = ticker_reader(names=names or NAMES, time=("ts", 10**6), symbol="s")
    return reader(json.dumps({**BODY, **(changes or {})}).encode(), COIN)


def test_figures_are_scaled_and_contracts_become_base_units() -> None:
    assert read() == Ticker(price=1.1, at_ns=1791002000123000000, open_24h=1.0, high=1.2, low=0.9, volume=5.0, quote_volume=5.25,
                            trades=7, bid=1.09, ask=1.1)
    assert read().change == pytest.approx(0.1)


def test_a_volume_that_is_in_base_units_already_is_kept() -> None:
    assert read(names={"price": "last", "base_volume": "vol"}).volume == 50.0


@pytest.mark.parametrize(("key", "value", "opened"), [
    ("change", "10", 1.0), ("percent", "10", 1.0), ("percent", "-100", math.nan)])
def test_the_price_of_a_day_ago_comes_from_a_change(key: str, value: str, opened: float) -> None:
    found = read({"moved": value}, {"price": "last", key: "moved"}).open_24h
    assert found == pytest.approx(opened, nan_ok=True)


@pytest.mark.parametrize("absent", [{"bid": ""}, {"bid": None}, {"bid": "0"}])
def test_a_figure_that_the_venue_leaves_out_is_not_known(absent: dict[str, Any]) -> None:
    assert math.isnan(read(absent).bid)


@pytest.mark.parametrize("changes", [
    {"last": ""}, {"last": "0"}, {"last": "-1"}, {"last": "nan"}, {"high": "80"}, {"vol": "-1"}, {"vol": "inf"}, {"ts": "-5"},
    {"s": "BTCUSDT"}, {"last": [1]}, {"open": "-100"},
])
def test_impossible_figures_are_rejected(changes: dict[str, Any]) -> None:
    with pytest.raises(REFUSALS):
        read(changes)


def test_the_error_shows_the_figures() -> None:
    with pytest.raises(BadFrame, match="not a ticker: Ticker\\(price=0"):
        Ticker(price=0.0)
