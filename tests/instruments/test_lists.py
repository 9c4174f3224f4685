"""What a venue lists: what is taken of it, what is not, and what is no list."""

from __future__ import annotations

import dataclasses
import json
import logging
import math

import gevent
import pytest
from gevent.event import Event
from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.instruments.lists import fetch_instruments, fetch_volumes
from pumpwatch.instruments.volumes import WITHIN_S, SeparateVolumes
from pumpwatch.model import HttpRequest, Instrument, Volumes
from tests.feeds.scripted import VenueWorld, quick, until


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


def test_what_cannot_be_a_volume_is_none():
    body = {"BTCUSDT": 12.5, "ETHUSDT": -1, "SOLUSDT": math.nan, "OTHER": 3.0}
    assert fetch_volumes(VOLUMES, answering(body)) == {"BTCUSDT": 12.5, "OTHER": 3.0}


@pytest.mark.parametrize("answer", [ServiceUnavailable("HTTP 500"), "text", [1], None])
def test_where_no_volumes_are_told_that_is_said(answer):
    with pytest.raises(ServiceUnavailable):
        fetch_volumes(VOLUMES, answering(answer))


def test_volumes_come_with_the_list_and_hold_until_they_are_told_anew(caplog):
    caplog.set_level(logging.INFO, "pumpwatch.feeds")
    venue, answers = dataclasses.replace(VENUES[0], volumes=VOLUMES), Answers()
    volumes = SeparateVolumes(venue, answers)

    def told() -> list[float]:
        volumes.begin()
        return [one.volume for one in volumes.added_to(fetch_instruments(venue, answers), within_s=0.2)]

    answers.volumes = {"BTCUSDT": 2.0, "ETHUSDT": 1.0}
    assert told() == [2.0, 1.0, 0.0]
    answers.volumes = ServiceUnavailable("HTTP 500")
    assert told() == told() == [2.0, 1.0, 0.0]
    answers.volumes, answers.hangs = {"BTCUSDT": 3.0}, Event()
    assert told() == told() == [2.0, 1.0, 0.0] and answers.asked == 4  # the last one is on its way
    answers.hangs.set()
    assert told() == [3.0, 1.0, 0.0]
    assert [line.split(" venue=")[0] for line in caplog.messages] == ["24-hour volumes are unavailable", "24-hour volumes are available again"]


def test_a_request_for_volumes_that_hangs_keeps_no_symbol_waiting_for_long():
    with VenueWorld(["A", "B"], quick(volumes=VOLUMES)) as world:
        world.volumes_hang = True
        with gevent.Timeout(WITHIN_S + 5.0):
            until(lambda: world.feeds.feeds and world.feeds.feeds[0].granted == {"A", "B"})


class Answers:
    """A venue that answers the request for its list, and that for volumes as it is told to, once nothing `hangs`."""

    def __init__(self) -> None:
        self.volumes: object = {}
        self.hangs: Event | None = None
        self.asked = 0  # for volumes

    def __call__(self, request: HttpRequest) -> bytes:
        if request.path == "/volumes":
            self.asked += 1
            if self.hangs:
                self.hangs.wait()
        return answering(self.volumes)(request)
