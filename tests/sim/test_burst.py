"""Frames made in advance are sent again and again with new ids and times."""

from __future__ import annotations

import json
from typing import Any

from pumpwatch.clock import FakeClock
from pumpwatch.sim.burst import BurstSource
from pumpwatch.sim.ground_truth import SENT
from pumpwatch.sim.venue import SimVenue
from tests.sim.fakes import FIRST_ID, FakeStream, connect, truth_of, venue_of


def received(stream: FakeStream) -> list[dict[str, Any]]:
    return [json.loads(frame[2:]) for frame in stream.written]


def advance(source: BurstSource, venue: SimVenue, seconds: float = 1.0) -> None:
    begin_ns = venue.clock.now_ns()
    venue.clock.advance(seconds)  # type: ignore[attr-defined]
    source.advance(seconds, begin_ns, venue.clock.now_ns())


def test_laps_are_repeated_with_ids_that_go_up_and_times_of_sending() -> None:
    venue = venue_of(FakeClock())
    _, stream = connect(venue, "AAA", "BBB")
    source = BurstSource(venue, rate=50, lap_trades=30)
    for _ in range(4):
        advance(source, venue)
    frames = received(stream)
    assert 90 <= len(frames) <= 200
    for symbol in ("AAA", "BBB"):
        ids = [frame["t"] for frame in frames if frame["s"] == symbol]
        assert ids == list(range(FIRST_ID, FIRST_ID + len(ids)))
    assert frames[-1]["T"] == venue.clock.now_ns() // 1_000_000
    assert len(truth_of(venue).ids(SENT)) == len(frames) == venue.made


def test_a_connection_that_does_not_read_is_behind_alone_and_loses_nothing() -> None:
    venue = venue_of(FakeClock())
    _, reader = connect(venue, "AAA")
    _, sleeper = connect(venue, "BBB", number=2)
    sleeper.room = 0
    source = BurstSource(venue, rate=100, lap_trades=200)
    for _ in range(5):
        advance(source, venue, 0.1)
    assert source.behind() > 0 and len(reader.written) > 10 and not source.finished()
    late = len(sleeper.written)
    sleeper.give_room(1 << 20)
    advance(source, venue, 0.1)
    assert [frame["t"] for frame in received(sleeper)] == list(range(FIRST_ID, FIRST_ID + len(sleeper.written)))
    assert len(sleeper.written) > late


def test_the_newer_connection_gets_a_symbol_and_goes_on_with_its_ids() -> None:
    venue = venue_of(FakeClock())
    _, first = connect(venue, "AAA")
    source = BurstSource(venue, rate=100, lap_trades=50)
    advance(source, venue, 0.1)
    _, second = connect(venue, "AAA", number=2)
    before = len(first.written)
    advance(source, venue, 0.1)
    assert len(first.written) == before > 0
    assert received(second)[0]["t"] == FIRST_ID + before


def test_without_a_subscription_nothing_is_sent() -> None:
    venue = venue_of(FakeClock())
    source = BurstSource(venue, rate=100, lap_trades=50)
    advance(source, venue)
    assert (venue.made, source.behind()) == (0, 0)
