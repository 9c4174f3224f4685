"""Venues are asked for the missing minutes alone, once, newest first; what they answer wrongly costs one line and a pause."""

from __future__ import annotations

import logging
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.config import load
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.market.candle_columns import CandleColumns, CandleOrigin
from pumpwatch.market.candle_history import CandleHistory, asked_spans, without
from pumpwatch.market.intervals import MINUTE, MINUTE_NS
from pumpwatch.model import Instrument
from pumpwatch.plugins import load_plugins
from pumpwatch.venue import Candle, Candles, HttpRequest, Venue
from tests.market.memory_store import MemoryStore

FIRST = 28_000_000
NOW_NS = (FIRST + 100) * MINUTE_NS
VENUE = replace(load_plugins(load(None, {})).venues[0], exchange="alpha", market_type="spot", candles=Candles(
    request=lambda symbol, start_ns, end_ns: HttpRequest(symbol, {"from": start_ns // MINUTE_NS, "to": end_ns // MINUTE_NS}),
    parse=lambda body, instrument: [Candle(start_ns=at * MINUTE_NS, open=1, high=2, low=1, close=2, volume=volume,
                                           quote_volume=-1)
                                    for at, volume in msgspec.json.decode(body, type=list[tuple[int, float]])],
    rows_per_request=10, reach_s=float("inf"), tolerance=0.0, why=""))
SERIES = ("alpha", "spot", "AUSDT")


class Answers:
    """A venue: every minute has a candle of volume 1, unless `says` is set."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, int]] = []
        self.says: bytes | None = None
        self.away = False

    def __call__(self, venue: Venue, request: HttpRequest) -> bytes:
        span = int(request.params["from"]), int(request.params["to"])
        self.asked.append((request.path, *span))
        if self.away:
            raise ServiceUnavailable("HTTP 503")
        return self.says if self.says is not None else msgspec.json.encode([(at, 1.0) for at in range(*span)])


class Fetching:
    def __init__(self) -> None:
        self.store, self.answers, self.clock = MemoryStore(), Answers(), FakeClock(NOW_NS)
        self.history = CandleHistory(self.store, self.answers, self.clock, lambda work: work())

    def fetch(self, **missing: list) -> None:
        self.history.fetch(VENUE, {"AUSDT": Instrument(symbol="AUSDT", base="A", quote="USDT")}, missing, self.store.marks(), 60)


def test_each_missing_minute_is_asked_for_once_and_the_newest_first() -> None:
    fetching = Fetching()
    fetching.fetch(AUSDT=[(FIRST, FIRST + 15), (FIRST + 20, FIRST + 22)], BUSDT=[(FIRST + 50, FIRST + 55)])
    assert fetching.answers.asked == [("BUSDT", FIRST + 50, FIRST + 55), ("AUSDT", FIRST + 20, FIRST + 22),
                                      ("AUSDT", FIRST + 5, FIRST + 15), ("AUSDT", FIRST, FIRST + 5)]
    rows = fetching.store.read(SERIES, MINUTE, 0, NOW_NS)
    assert len(rows) == 17
    assert rows.complete.all()
    assert set(rows.origin.tolist()) == {CandleOrigin.VENUE}
    assert np.isnan(rows.quote_volume).all()
    assert set(rows.trades.tolist()) == {-1}
    fetching.fetch(AUSDT=[(FIRST - 1, FIRST + 30)])
    assert fetching.answers.asked[4:] == [("AUSDT", FIRST + 22, FIRST + 30),
                                           ("AUSDT", FIRST + 15, FIRST + 20), ("AUSDT", FIRST - 1, FIRST)]


def test_a_complete_candle_of_trades_stays_and_an_incomplete_one_is_replaced() -> None:
    fetching, ones = Fetching(), np.full(2, 7.0)
    fetching.store.write(MINUTE, [SERIES], CandleColumns(
        np.zeros(2, np.int32), np.array([FIRST, FIRST + 1]) * MINUTE_NS, ones, ones, ones, ones, ones, ones, ones,
        np.ones(2, np.int64), np.array([True, False]), np.full(2, CandleOrigin.TRADES, np.uint8)))
    fetching.fetch(AUSDT=[(FIRST, FIRST + 2)])
    rows = fetching.store.read(SERIES, MINUTE, 0, NOW_NS)
    assert rows.origin.tolist() == [CandleOrigin.TRADES, CandleOrigin.VENUE]
    assert rows.volume.tolist() == [7.0, 1.0]


def test_minutes_without_trades_make_no_candle_and_are_not_asked_for_again() -> None:
    fetching = Fetching()
    fetching.answers.says = msgspec.json.encode([(FIRST, 0.0)])
    for _ in range(2):
        fetching.fetch(AUSDT=[(FIRST, FIRST + 2)])
    assert len(fetching.answers.asked) == 1
    assert not fetching.store.rows


@pytest.mark.parametrize("body", [b"<html>sorry</html>", b"[[1", msgspec.json.encode([(FIRST, 1.0), (FIRST, 1.0)]),
                                  msgspec.json.encode([(FIRST + 200, 1.0)]), msgspec.json.encode([(FIRST, -1.0)])])
def test_an_answer_that_cannot_be_right_is_not_stored(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    fetching = Fetching()
    fetching.answers.says = body
    missing = {f"{name}USDT": [(FIRST, FIRST + 5)] for name in "ABCDE"}
    with caplog.at_level(logging.WARNING):
        fetching.fetch(**missing)
        fetching.fetch(**missing)
    assert len(fetching.answers.asked) == 3
    assert len(caplog.messages) == 1
    assert not fetching.store.rows
    assert not fetching.store.marks()


def test_a_venue_that_is_away_is_left_alone_for_longer_each_time(caplog: pytest.LogCaptureFixture) -> None:
    fetching = Fetching()
    fetching.answers.away = True
    asked = []
    with caplog.at_level(logging.WARNING):
        for _ in range(6):
            fetching.fetch(AUSDT=[(FIRST, FIRST + 5)])
            asked.append(len(fetching.answers.asked))
            fetching.clock.advance(61)
    assert asked == [1, 2, 2, 3, 3, 3]
    assert len(caplog.messages) == 1
    fetching.answers.away = False
    fetching.clock.advance(3600)
    fetching.fetch(AUSDT=[(FIRST, FIRST + 5)])
    assert len(fetching.store.rows) == 5


def test_a_venue_without_candles_is_not_asked() -> None:
    fetching = Fetching()
    fetching.history.fetch(replace(VENUE, candles=None), {}, {"AUSDT": [(FIRST, FIRST + 5)]}, {}, 60)
    assert fetching.answers.asked == []


def test_spans_are_cut_by_those_that_are_taken() -> None:
    assert without([(0, 10), (20, 30)], [(2, 4), (8, 22)]) == [(0, 2), (4, 8), (22, 30)]
    assert without([(0, 10)], [(0, 10)]) == []
    assert asked_spans("no span") == asked_spans("") == []
