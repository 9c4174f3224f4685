"""Candles add up to the trades of their minutes, in base units and in order, or the check says where they do not."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from pumpwatch_plugins.exchanges.okx import VENUES
from pumpwatch_plugins.simulators.okx import simulator_dialects

from pumpwatch.model import Instrument
from pumpwatch.plugin_kit.check_candles import check_candles
from pumpwatch.plugin_kit.samples import Samples, SimulatedVenue
from pumpwatch.plugin_kit.sandbox import attempt
from pumpwatch.venue import Candle, HttpRequest, Venue
from tests.plugin_kit.good_venue import results

SWAPS = VENUES[1]
REQUESTS, MINUTES = "candles: requests", "candles: minutes"
assert SWAPS.candles is not None
CANDLES = SWAPS.candles
NUMBERS = itertools.count()
ROUNDED = {"tolerance": 0.001, "why": "volumes are rounded"}


def checked(**facts: Any) -> dict[str, tuple[str, str]]:
    venue = dataclasses.replace(SWAPS, candles=dataclasses.replace(CANDLES, **facts))
    return results(check_candles(venue, Samples(simulated=SimulatedVenue(venue, simulator_dialects()[1]))))


def reading(change: Callable[[list[Candle]], list[Candle]]) -> Callable[[bytes, Instrument], list[Candle]]:
    return lambda body, instrument: change(CANDLES.parse(body, instrument))


def test_candles_of_contracts_add_up_to_base_units() -> None:
    found = checked()
    assert [state for state, _ in found.values()] == ["ok", "ok"]
    assert found[REQUESTS][1] == "100 minutes a request; volumes must agree"
    assert checked(**ROUNDED)[REQUESTS][1] == "100 minutes a request; a volume may differ by 0.10%: volumes are rounded"
    assert found[MINUTES][1].startswith("11 minutes of BTC-USDT-SWAP add up to its trades")


@pytest.mark.parametrize(("facts", "says"), [
    ({"rows_per_request": 0}, "rows_per_request is 0"),
    ({"reach_s": -1}, "reach_s is -1"),
    ({"tolerance": 1.5}, "tolerance is 1.5"),
    ({"why": "volumes are rounded"}, "a tolerance of 0.0 has the reason"),
    ({"tolerance": 0.001}, "a tolerance of 0.001 has the reason ''"),
    ({"request": lambda symbol, start_ns, end_ns: HttpRequest("candles")}, "does not begin with /"),
    ({"request": lambda symbol, start_ns, end_ns: HttpRequest("/candles", weight=10_000)}, "the weight is 10000"),
    ({"request": lambda symbol, start_ns, end_ns: 1 / 0}, "ZeroDivisionError"),
    ({"request": lambda symbol, start_ns, end_ns: HttpRequest(f"/{next(NUMBERS)}")}, "a different request the second time"),
])
def test_facts_and_requests_that_cannot_be_right_are_named(facts: dict[str, Any], says: str) -> None:
    state, detail = checked(**facts)[REQUESTS]
    assert (state, says in detail) == ("fail", True), detail


@pytest.mark.parametrize(("change", "says"), [
    (lambda found: [dataclasses.replace(candle, volume=candle.volume * 100) for candle in found], "in base units"),
    (lambda found: [dataclasses.replace(candle, volume=candle.volume * 1.01) for candle in found], "in base units"),
    (lambda found: [dataclasses.replace(candle, trades=3) for candle in found], "a candle counts 3 trades, the dialect "),
    (lambda found: found[::-1], "not in ascending order"),
    (lambda found: found * 2, "not in ascending order"),
    (lambda found: found[1:], "has no candle"),
    (lambda found: [*found, dataclasses.replace(found[-1], start_ns=found[-1].start_ns + 10**12 * 6)], "outside the"),
])
def test_a_minute_that_does_not_fit_its_trades_is_named(change: Callable[[list[Candle]], list[Candle]], says: str) -> None:
    state, detail = checked(parse=reading(change))[MINUTES]
    assert (state, says in detail) == ("fail", True), detail


def test_a_volume_may_differ_by_the_tolerance() -> None:
    more = reading(lambda found: [dataclasses.replace(candle, volume=candle.volume * 1.0005) for candle in found])
    assert checked(parse=more, **ROUNDED)[MINUTES][0] == "ok"
    assert checked(parse=more)[MINUTES][0] == "fail"


def test_more_minutes_than_were_asked_for_are_named() -> None:
    def request(symbol: str, start_ns: int, end_ns: int) -> HttpRequest:
        made = CANDLES.request(symbol, start_ns, end_ns)
        return dataclasses.replace(made, params={"instId": symbol})

    assert "candles outside the 1 minute requested" in checked(request=request)[MINUTES][1]


def test_a_parser_that_takes_half_a_body_or_breaks_is_named() -> None:
    def breaking(body: bytes, instrument: Instrument) -> list[Candle]:
        if attempt(CANDLES.parse, body, instrument).error is not None:
            raise SystemError("not candles")
        return CANDLES.parse(body, instrument)

    def lenient(body: bytes, instrument: Instrument) -> list[Candle]:
        return attempt(CANDLES.parse, body, instrument).value or []

    assert "it raises SystemError" in checked(parse=breaking)[MINUTES][1]
    assert "half a body is accepted" in checked(parse=lenient)[MINUTES][1]


def test_a_venue_without_candles_has_no_row() -> None:
    venue: Venue = dataclasses.replace(SWAPS, candles=None)
    assert check_candles(venue, Samples()) == []


def test_without_a_dialect_the_requests_are_checked_alone() -> None:
    assert [row.check for row in check_candles(SWAPS, Samples())] == [REQUESTS]
