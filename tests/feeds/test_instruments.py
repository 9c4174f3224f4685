"""What a venue lists: what is taken of it, what is not, and what is no list."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.feeds.instruments import fetch_instruments
from pumpwatch.model import HttpRequest, Instrument, Volumes


def listing(*symbols: object) -> bytes:
    rows = [{"symbol": symbol, "baseAsset": "BTC", "quoteAsset": "USDT", "status": "TRADING"} for symbol in symbols]
    return json.dumps({"symbols": rows}).encode()


def test_rows_that_cannot_be_instruments_are_left_out_and_told():
    told: list[str] = []
    body = listing("BTCUSDT", None, 7, "", "A\x00B", "S" * 200, "A/B", "币安人生USDT", "BTCUSDT")
    found = fetch_instruments(VENUES[0], lambda request: body, told.append)
    assert [one.symbol for one in found] == ["BTCUSDT", "A/B", "币安人生USDT"]
    assert len(told) == 5 and "symbol=None" in told[0]


@pytest.mark.parametrize("body", [listing(), listing(None, 7), b"", b"[]", b"null", b"<html>\n<b>busy</b>", listing("A")[:40]])
def test_what_is_no_list_of_instruments_is_refused_in_one_line(body):
    with pytest.raises(ServiceUnavailable) as caught:
        fetch_instruments(VENUES[0], lambda request: body)
    assert caught.value.message.isprintable() and "instrument list" in caught.value.message


@pytest.mark.parametrize("fact", [{"contract_size": 0.0}, {"contract_size": math.inf}, {"price_divisor": math.nan},
                                  {"volume": -1.0}, {"contract_size": None}, {"base": ""}, {"quote": None}])
def test_an_instrument_that_would_spoil_its_trades_is_left_out(fact):
    good = Instrument(symbol="A", base="A", quote="USDT")
    venue = dataclasses.replace(VENUES[0], parse_instruments=lambda bodies: [good, dataclasses.replace(good, symbol="B", **fact)])
    assert fetch_instruments(venue, lambda request: b"") == [good]


VOLUMES = Volumes(HttpRequest("/volumes"), json.loads)


def answering(volumes: object):
    """Return what asks a venue that answers the request for volumes with this, or not at all."""
    def ask(request: HttpRequest) -> bytes:
        if request.path != "/volumes":
            return listing("BTCUSDT", "ETHUSDT", "SOLUSDT")
        if isinstance(volumes, Exception):
            raise volumes
        return json.dumps(volumes).encode()

    return ask


def test_volumes_are_asked_for_with_the_list_and_what_cannot_be_one_is_none():
    troubles: list[str] = []
    pages: list[bytes] = []
    venue_with_volumes = dataclasses.replace(VENUES[0], volumes=VOLUMES)
    body = {"BTCUSDT": 12.5, "ETHUSDT": -1, "SOLUSDT": math.nan, "OTHER": 3.0}
    found = fetch_instruments(venue_with_volumes, answering(body), on_volumes=troubles.append, pages=pages)
    assert pages == [listing("BTCUSDT", "ETHUSDT", "SOLUSDT")]
    assert [(one.symbol, one.volume) for one in found] == [("BTCUSDT", 12.5), ("ETHUSDT", 0.0), ("SOLUSDT", 0.0)]
    assert troubles == [""]


@pytest.mark.parametrize("answer", [ServiceUnavailable("HTTP 500"), "text", [1], None, {"BTCUSDT": "x"}])
def test_without_volumes_the_list_holds(answer):
    troubles: list[str] = []
    venue_with_volumes = dataclasses.replace(VENUES[0], volumes=VOLUMES)
    found = fetch_instruments(venue_with_volumes, answering(answer), on_volumes=troubles.append)
    assert [(one.symbol, one.volume) for one in found] == [("BTCUSDT", 0.0), ("ETHUSDT", 0.0), ("SOLUSDT", 0.0)]
    assert len(troubles) == 1 and (troubles[0] or isinstance(answer, dict))
