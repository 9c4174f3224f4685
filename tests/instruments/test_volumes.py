"""24-hour volumes that a venue publishes apart from its list."""

from __future__ import annotations

import dataclasses
import logging

import gevent
from gevent.event import Event
from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.instruments.lists import fetch_instruments
from pumpwatch.instruments.volumes import WITHIN_S, SeparateVolumes
from tests.feeds.scripted import VenueWorld, quick, until
from tests.instruments.answers import VOLUMES, Answers


def test_volumes_come_with_the_list_and_hold_until_they_are_told_anew(caplog):
    caplog.set_level(logging.INFO, "pumpwatch.instruments")
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
    assert [line.split(" venue=")[0] for line in caplog.messages] == [
        "24-hour volumes are unavailable", "24-hour volumes are available again"]


def test_a_request_for_volumes_that_hangs_keeps_no_symbol_waiting_for_long():
    with VenueWorld(["A", "B"], quick(volumes=VOLUMES)) as world:
        world.volumes_hang = True
        with gevent.Timeout(WITHIN_S + 5.0):
            until(lambda: world.feeds.feeds and world.feeds.feeds[0].granted == {"A", "B"})
