"""A function that reads REST answers fails if it accepts another answer, or reads its own wrongly."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from pumpwatch_plugins.simulators.binance import SPOT_DIALECT

from pumpwatch.model import Columns, Instrument
from pumpwatch.plugin_kit.check_responses import (
    check_bad_bodies,
    check_history,
    check_instruments,
    check_responses,
    require_plausible,
)
from pumpwatch.plugin_kit.results import Check, Problems
from pumpwatch.plugin_kit.samples import Samples, SimulatedVenue, gather
from pumpwatch.plugin_kit.sandbox import attempt
from pumpwatch.venue import AggregatedHistory, Venue
from tests.plugin_kit.good_venue import SPOT, changed, results


@pytest.fixture(scope="module")
def simulated() -> SimulatedVenue:
    made = gather(SPOT, (), SPOT_DIALECT).simulated
    assert made is not None
    return made


def lenient(bodies: Sequence[bytes]) -> list[Instrument]:
    return attempt(SPOT.parse_instruments, bodies).value or []


def breaking(bodies: Sequence[bytes]) -> list[Instrument]:
    if attempt(SPOT.parse_instruments, bodies).error is not None:
        raise SystemError("not a list")
    return []


def no_list(venue: Venue) -> Check:
    return check_bad_bodies(venue, "instruments", lambda body: venue.parse_instruments([body]))


def test_a_body_of_another_kind_must_be_rejected_and_not_break() -> None:
    assert no_list(SPOT).state == "ok"
    assert "an empty body is accepted as a list" in no_list(changed(parse_instruments=lenient)).detail
    assert "an empty body raises SystemError" in no_list(changed(parse_instruments=breaking)).detail


def test_a_history_that_reads_nothing_of_another_answer_is_named() -> None:
    row = check_bad_bodies(SPOT, "history", lambda body: None)
    assert row.state == "fail" and "null is accepted as a list" in row.detail


def test_large_bodies_of_another_kind_must_be_rejected_too() -> None:
    def only_small(body: bytes, symbol: str, columns: Columns) -> None:
        if len(body) < 10_000_000:
            SPOT.parse_history(body, symbol, columns)

    deeper = AggregatedHistory(depth=SPOT.history, request=SPOT.history_request, parse=lambda body, symbol, columns: None)
    assert SPOT.candles is not None
    candles = dataclasses.replace(SPOT.candles, parse=lambda body, instrument: [])
    venue = changed(parse_history=only_small, aggregated_history=deeper, candles=candles)
    found = results(check_responses(venue, Samples()))
    assert found["instruments: bad bodies are refused"] == ("ok", "11 kinds of other answers, two of them with 40 MB")
    state, detail = found["history: bad bodies are refused"]
    assert state == "fail" and "40 MB of HTML is accepted as a list" in detail
    for what in ("candles", "aggregated"):
        state, detail = found[f"{what}: bad bodies are refused"]
        assert state == "fail" and "an empty body is accepted as a list" in detail


def test_the_dialects_list_must_be_read_whole(simulated: SimulatedVenue) -> None:
    assert check_instruments(SPOT, simulated).state == "ok"
    half = changed(parse_instruments=lambda bodies: SPOT.parse_instruments(bodies)[:3])
    assert "symbols that trade are left out" in check_instruments(half, simulated).detail


def test_a_history_in_whole_seconds_must_be_declared(simulated: SimulatedVenue) -> None:
    def in_seconds(body: bytes, symbol: str, columns: Columns) -> None:
        SPOT.parse_history(body, symbol, columns)
        columns.timestamp = [at // 1000 * 1000 for at in columns.timestamp]

    assert check_history(changed(parse_history=in_seconds), simulated).state == "fail"
    coarse = dataclasses.replace(SPOT.history, resolution_ns=10**9)
    assert check_history(changed(parse_history=in_seconds, history=coarse), simulated).state == "ok"


def test_an_instrument_with_impossible_values_is_named() -> None:
    problems = Problems("x.spot", "instruments")
    good = Instrument(symbol="A", base="A", quote="USDT")
    require_plausible(problems, [good])
    assert problems.failures == []
    require_plausible(problems, [good, good, dataclasses.replace(good, symbol="B", contract_size=0.0, multiplier=0, volume=-1.0)])
    assert problems.failures == ["a symbol is listed twice", "B: the multiplier is 0", "B: contract_size is 0.0",
                                 "B: the volume is -1.0"]
