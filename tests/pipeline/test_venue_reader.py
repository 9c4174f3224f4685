"""A venue's frames are read a slice a turn, so that no venue holds up the others, and nothing is left out for that."""

from __future__ import annotations

import json
from dataclasses import replace

import gevent
import pytest
from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.model import Gap, IdKind, Instrument, TradeBatch
from pumpwatch.net.connection import Connection
from pumpwatch.pipeline import ingest as ingests
from pumpwatch.pipeline import venue_reader
from pumpwatch.pipeline.ingest import Ingest
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.venue import Venue
from tests.net.frame_bytes import ScriptedStream, frame
from tests.pipeline.heard import heard_connection
from tests.pipeline.ingest_bench import Bench, trade

SPOT = VENUES[0]
BAD = b"x"


class WorkClock(Clock):
    """Moves by so much at each look, as if all work between two looks took that long."""

    def __init__(self, step_s: float) -> None:
        self.step_s, self._now_s = step_s, 0.0

    def monotonic(self) -> float:
        self._now_s += self.step_s
        return self._now_s


def worked(bench: Bench, step_s: float, market_type: str = "spot") -> None:
    """Let each attempt of this venue take so long."""
    for reader in bench.ingest._readers:
        if reader.parser.venue.market_type == market_type:
            reader._clock, reader._credited_at = WorkClock(step_s), 0.0
            reader._cpu_s = WorkClock(step_s).monotonic


def test_a_venue_that_sends_rubbish_has_its_share_and_the_other_venues_are_read_whole_each_turn():
    bench = Bench()
    worked(bench, 0.001, "spot")
    worked(bench, 0.0, "futures")
    bench.send("spot", *[BAD] * 20_000, trade(1))
    for number in range(1, 30):
        bench.send("futures", trade(number))
        batch = bench.slice()
        assert batch.trade_id.tolist() == [number]
    refused = bench.stats.get("quarantined_frames_total", venue="binance.spot")
    assert 20 <= refused < 5000
    assert bench.ingest._readers[0].waiting == 0 and not bench.ingest._readers[0].goes_on


def test_what_was_left_over_is_read_before_what_came_later_and_none_of_it_is_lost():
    bench = Bench()
    worked(bench, 0.0002)
    numbers = iter(range(1, 10_000))
    sent: list[int] = []
    for _ in range(20):
        for _ in range(10):
            number = next(numbers)
            sent.append(number)
            bench.send("spot", trade(number), *[BAD] * 20)
        bench.slice()
    while len(TradeBatch.concat(bench.batches)) < len(sent):
        bench.ingest._readers[0]._credit = 1.0
        bench.slice()
    assert TradeBatch.concat(bench.batches).trade_id.tolist() == sent
    assert bench.stats.get("quarantined_frames_total", venue="binance.spot") == 20 * 10 * 20
    assert [gap for gap in bench.records.gaps if gap.first_id is not None] == []


def test_good_frames_use_no_credit_however_many_wait():
    bench = Bench()
    bench.send("spot", *map(trade, range(1, 30_001)))
    total = 0
    while bench.ingest._readers[0].goes_on or not total:
        total += len(bench.slice())
    assert total == 30_000


def test_others_run_between_the_slices_of_a_turn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ingests, "TURN_S", -1.0)
    bench = Bench()
    worked(bench, 0.000001)
    ran: list[int] = []

    def other() -> None:
        ran.append(len(bench.batches))

    task = gevent.spawn(other)
    bench.send("spot", *[BAD] * 20)
    bench.slice()
    assert ran == [0] and task.ready()


def test_a_turn_that_is_killed_between_two_slices_loses_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ingests, "TURN_S", -1.0)
    bench = Bench()
    worked(bench, 0.000001)
    bench.send("spot", trade(1), BAD, trade(2), BAD, trade(3))
    turn = gevent.spawn(bench.ingest.turn)
    gevent.sleep(0)
    turn.kill()
    assert not bench.batches
    bench.send("spot", trade(4))
    bench.turn()
    assert TradeBatch.concat(bench.batches).trade_id.tolist() == [1, 2, 3, 4]
    assert len(bench.records.quarantine) == 2


def test_what_cannot_be_read_before_the_end_is_counted_and_kept_as_one_and_is_a_gap():
    bench = Bench()
    worked(bench, 0.001)
    bench.send("spot", trade(1), *[BAD] * 3000)
    last_ns = Clock().now_ns()
    bench.ingest._readers[0]._clock.step_s = 0.01  # type: ignore[attr-defined]
    bench.ingest._clock = bench.ingest._readers[0]._clock
    bench.ingest.finish(0.5)
    assert TradeBatch.concat(bench.batches).trade_id.tolist() == [1]
    assert bench.stats.get("quarantined_frames_total", venue="binance.spot") == 3000
    (kept,) = [one for one in bench.records.quarantine if venue_reader.NOT_READ in one.reason]
    assert kept.payload == BAD and "frames=" in kept.reason
    (gap,) = [one for one in bench.records.gaps if one.reason == venue_reader.NOT_READ]
    assert gap.from_ns < last_ns - NS_PER_S // 2 < gap.to_ns


def test_gaps_of_a_venue_that_is_read_behind_begin_when_it_fell_behind_and_its_lag_says_so():
    bench = Bench()
    reading = bench.ingest._readers[0]
    reading.parser._per_s = reading.parser._allowance = 0.0
    bench.send("spot", trade(1, at_ms=Clock().now_ns() // 10**6))
    bench.turn()
    behind_ns = Clock().now_ns() - 40 * NS_PER_S
    reading.buffer.behind_since_ns = behind_ns
    bench.send("spot", BAD)
    bench.turn()
    (gap,) = bench.records.gaps
    assert behind_ns - 5 * NS_PER_S < gap.from_ns < behind_ns
    assert bench.stats.get("lag_ms", venue="binance.spot") >= 40_000
    reading.buffer.behind_since_ns = 0
    bench.turn()
    assert bench.stats.get("lag_ms", venue="binance.spot") < 5_000


def test_a_plugin_that_fails_at_one_portion_loses_that_one_alone(monkeypatch: pytest.MonkeyPatch):
    def parse(text, columns) -> None:
        SPOT.parse(text, columns)
        if b"13" in bytes(text):
            raise RuntimeError("a bug")

    bench = Bench()
    bench.catalogue.add(("strange", "spot"), Instrument(symbol="BTCUSDT", base="BTC", quote="USDT"))
    buffer = bench.ingest.add_venue(replace(SPOT, exchange="strange", parse=parse))
    payloads = [trade(1), trade(13), trade(2)]
    connection = heard_connection(buffer, [frame(one.encode()) for one in payloads])
    monkeypatch.setattr("pumpwatch.pipeline.scan.MOST_FRAMES", 1)
    for second in range(3):
        connection.sweep(second * NS_PER_S)
    assert bench.turn().trade_id.tolist() == [1, 2]
    (gap,) = bench.records.gaps
    assert gap.exchange == "strange" and "a bug" in gap.reason


def test_rows_that_cannot_be_sorted_are_a_gap_and_the_rest_of_the_turn_goes_on():
    def without_ids(text, columns) -> None:
        SPOT.parse(text, columns)
        columns.trade_id = [str(one) for one in columns.trade_id]

    bench = Bench()
    bench.catalogue.add(("strange", "spot"), Instrument(symbol="BTCUSDT", base="BTC", quote="USDT"))
    venue: Venue = replace(SPOT, exchange="strange", parse=without_ids, id_kind=IdKind.NONE)
    connection = Connection(ScriptedStream([frame(trade(1).encode())]), bench.ingest.add_venue(venue), 1 << 20,
                            lambda reason: None)
    bench.ingest._readers[-1]._sort = lambda parsed: 1 / 0  # type: ignore[assignment, return-value]
    connection.sweep(Clock().now_ns())
    bench.send("spot", trade(7))
    assert bench.turn().trade_id.tolist() == [7]
    (gap,) = bench.records.gaps
    assert gap.exchange == "strange" and "ZeroDivisionError" in gap.reason


@pytest.mark.parametrize("days", [-2, 5])
def test_a_clock_of_ours_that_is_days_off_refuses_no_trade_and_gaps_still_cover_the_trades_own_times(
        days: int, monkeypatch: pytest.MonkeyPatch):
    now_ns = Clock().now_ns()
    bench = Bench()
    wrong_ns = now_ns + days * 86_400 * NS_PER_S
    connection = bench.connections["spot"]
    for number in range(1, 10):
        connection.stream.chunks.append(frame(trade(number, at_ms=now_ns // 10**6 + number).encode()))
        connection.sweep(wrong_ns + number)
        assert len(bench.turn()) == 1
    bench.ingest._readers[0].parser._per_s = bench.ingest._readers[0].parser._allowance = 0.0
    connection.stream.chunks.append(frame(BAD))
    connection.sweep(wrong_ns + 50)
    bench.turn()
    assert bench.records.quarantine == []
    (gap,) = bench.records.gaps
    assert gap.from_ns < now_ns < gap.to_ns
    assert abs(bench.stats.get("lag_ms", venue="binance.spot") - days * 86_400_000) < 60_000


def test_the_gap_before_a_run_reaches_its_first_trade_though_our_clock_was_turned_back_meanwhile():
    bench = Bench()
    now_ns = Clock().now_ns()
    two_days_back_ns = now_ns - 2 * 86_400 * NS_PER_S
    down = Gap(exchange="strange", market_type="spot", symbol="", from_ns=now_ns - 600 * NS_PER_S, to_ns=now_ns - 599 * NS_PER_S,
               first_id=None, last_id=None, reason="not running")
    bench.catalogue.add(("strange", "spot"), Instrument(symbol="BTCUSDT", base="BTC", quote="USDT"))
    connection = Connection(ScriptedStream([frame(trade(number, at_ms=now_ns // 10**6).encode()) for number in (1, 2)]),
                            bench.ingest.add_venue(replace(SPOT, exchange="strange"), down), 1 << 20, lambda reason: None)
    for number in range(2):
        connection.sweep(two_days_back_ns + number)
        assert len(bench.turn()) == 1
    (gap,) = bench.records.gaps
    assert gap == replace(down, to_ns=now_ns // 10**6 * 10**6)


def test_impossible_times_alone_are_refused():
    bench = Bench()
    year_2100, year_2009 = 4_102_444_800_000, 1_230_768_000_000
    for number, (at_ms, taken) in enumerate([(year_2100, False), (year_2100 - 1, True), (year_2009, True),
                                             (year_2009 - 1, False), (2**63 // 10**6, False), (0, False)], 1):
        bench.send("spot", trade(number, at_ms=at_ms))
        assert len(bench.turn()) == taken, at_ms
    assert len(bench.records.quarantine) == 4


def test_the_reason_of_a_quarantined_frame_is_one_printable_line_whatever_the_venue_wrote():
    bench = Bench()
    records = Records()
    ingest = Ingest(bench.catalogue, Clock(), Stats(), 1.0, 5000, lambda batch, one: records.extend(one))

    def parse(text, columns) -> None:
        raise ValueError("no such thing: " + json.loads(bytes(text))[0])

    buffer = ingest.add_venue(replace(SPOT, exchange="strange", parse=parse, read_control=lambda text: None))
    forged = json.dumps("\r\nERROR forged \x1b[2J \u202e" + "x" * 5000).encode()
    heard_connection(buffer, [frame(forged)]).sweep(Clock().now_ns())
    ingest.turn()
    (kept,) = records.quarantine
    assert kept.reason.isprintable() and len(kept.reason) <= 200 and r"\r\nERROR forged \x1b[2J \u202e" in kept.reason


def test_it_is_known_since_when_frames_wait_that_are_not_handed_over():
    bench = Bench()
    assert bench.ingest.oldest_waiting_ns(SPOT.name) == 0
    worked(bench, 0.001, "spot")
    before_ns = Clock().now_ns()
    bench.send("spot", *[BAD] * 2000)
    after_ns = Clock().now_ns()
    bench.send("spot", trade(1))
    assert before_ns <= bench.ingest.oldest_waiting_ns(SPOT.name) <= after_ns
    bench.slice()
    assert before_ns <= bench.ingest.oldest_waiting_ns(SPOT.name) <= after_ns, "the trade is not parsed yet"
    assert bench.ingest.oldest_waiting_ns("binance.futures") == 0
    bench.turn()
    assert bench.ingest.oldest_waiting_ns(SPOT.name) == 0
