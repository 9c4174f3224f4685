"""A symbol list yields its instruments; what cannot be used is excluded, and an answer that is not a list is rejected."""

from __future__ import annotations

import dataclasses
import math

import pytest
from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.instruments.lists import fetch_instruments, fetch_volumes
from pumpwatch.model import Instrument
from tests.instruments.answers import VOLUMES, answering, listing


def test_invalid_rows_are_left_out_and_reported():
    told: list[str] = []
    body = listing("BTCUSDT", None, 7, "", "A\x00B", "S" * 200, "A/B", "币安人生USDT", "BTCUSDT")
    found = fetch_instruments(VENUES[0], lambda request: body, told.append)
    assert [one.symbol for one in found] == ["BTCUSDT", "A/B", "币安人生USDT"]
    assert len(told) == 5 and "symbol=None" in told[0]


@pytest.mark.parametrize("body", [listing(), listing(None, 7), b"", b"[]", b"null", b"<html>\n<b>busy</b>", listing("A")[:40]])
def test_an_invalid_instrument_list_is_an_error_on_one_line(body):
    with pytest.raises(ServiceUnavailable) as caught:
        fetch_instruments(VENUES[0], lambda request: body)
    assert caught.value.message.isprintable() and "instrument list" in caught.value.message


@pytest.mark.parametrize("fact", [{"contract_size": 0.0}, {"contract_size": math.inf}, {"price_divisor": math.nan},
                                  {"volume": -1.0}, {"contract_size": None}, {"base": ""}, {"quote": None}])
def test_an_instrument_that_would_spoil_its_trades_is_left_out(fact):
    good = Instrument(symbol="A", base="A", quote="USDT")
    venue = dataclasses.replace(VENUES[0], parse_instruments=lambda bodies: [good, dataclasses.replace(good, symbol="B", **fact)])
    assert fetch_instruments(venue, lambda request: b"") == [good]


def test_an_invalid_volume_is_left_out():
    body = {"BTCUSDT": 12.5, "ETHUSDT": -1, "SOLUSDT": math.nan, "OTHER": 3.0}
    assert fetch_volumes(VOLUMES, answering(body)) == {"BTCUSDT": 12.5, "OTHER": 3.0}


@pytest.mark.parametrize("answer", [ServiceUnavailable("HTTP 500"), "text", [1], None])
def test_an_answer_without_volumes_is_an_error(answer):
    with pytest.raises(ServiceUnavailable):
        fetch_volumes(VOLUMES, answering(answer))
