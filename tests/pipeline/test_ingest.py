"""Frames of several venues in, one clean batch a turn out."""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from pumpwatch.clock import Clock, FakeClock
from pumpwatch.model import ControlKind, Flag, GapState, Instrument, QuantityUnit, TradeBatch
from tests.corpus import CORPUS
from tests.net.frame_bytes import frame
from tests.pipeline.heard import heard_connection
from tests.pipeline.ingest_bench import SPOT, Bench, trade

recorded = pytest.mark.skipif(CORPUS is None, reason="the recorded frames are not on this machine")


def test_a_turn_makes_one_batch_of_all_venues():
    bench = Bench()
    bench.send("spot", trade(1), trade(1, "ETHUSDT"))
    bench.send("futures", trade(7))
    batch = bench.turn()
    assert len(bench.batches) == 1
    assert bench.catalogue.names(batch.instrument) == [
        ("binance", "spot", "BTCUSDT"), ("binance", "spot", "ETHUSDT"), ("binance", "futures", "BTCUSDT")]
    assert (batch.received_at > batch.timestamp).all()
    source = bench.connections["spot"].source
    assert (source.traded_at_ns, source.traded_ns) == (batch.received_at[0], batch.timestamp[1])
    assert not bench.connections["spot"].buffer.holds(source)


def test_a_turn_is_due_at_once_after_a_rest_then_after_a_tick_and_sooner_only_where_many_frames_wait():
    bench = Bench(tick_ms=60_000.0, tick_frames=3)
    ingest = bench.ingest
    assert ingest.wake() == math.inf and not ingest._due.is_set()
    bench.send("spot", trade(1))
    assert ingest.wake() == 60.0 and ingest._due.is_set()
    bench.slice()
    ingest._due.clear()
    bench.send("spot", trade(2))
    bench.send("futures", trade(2))
    assert 0 < ingest.wake() < 60.0 and not ingest._due.is_set()
    bench.send("futures", trade(3))
    assert ingest.wake() == 60.0 and ingest._due.is_set()


def test_a_turn_is_due_in_half_of_the_time_where_half_of_the_frames_wait():
    bench = Bench(tick_ms=60_000.0, tick_frames=4)
    bench.ingest._due_at = bench.ingest._clock.monotonic() + 45.0
    bench.send("spot", trade(1))
    assert 40 < bench.ingest.wake() <= 45.0
    bench.send("spot", trade(2))
    assert 10 < bench.ingest.wake() <= 15.0 and not bench.ingest._due.is_set()
    bench.ingest._due_at -= 20.0
    assert bench.ingest.wake() == 60.0 and bench.ingest._due.is_set()


def test_a_reader_without_frames_is_idle_and_one_with_nothing_but_control_frames_is_not():
    bench = Bench()
    spot, futures = bench.ingest._readers
    assert spot.idle and futures.idle
    bench.connections["spot"].stream.chunks.append(bytes([0x89, 0]))
    bench.connections["spot"].sweep(1)
    assert not spot.idle and not spot.waiting and futures.idle
    bench.slice()
    assert spot.idle


def test_what_is_no_trade_is_handed_on_or_quarantined_and_stops_nothing():
    bench = Bench()
    bench.send("spot", '{"result":null,"id":1}', trade(1), "<html>", trade(2), trade(3, "NEWUSDT"), "{}", trade(3))
    batch = bench.turn()
    assert batch.trade_id.tolist() == [1, 2, 3]
    assert [control.kind for control in bench.connections["spot"].source.controls] == [ControlKind.ACK]
    assert [(one.payload, one.reason) for one in bench.records.quarantine][1][1] == "unknown symbol 'NEWUSDT'"
    assert len(bench.records.quarantine) == 3


def test_quarantined_frames_are_told_at_once_in_one_line_and_then_once_a_minute_with_their_number(caplog):
    bench = Bench()
    bench.ingest._clock = clock = FakeClock()
    bench.send("spot", b"<html>\n\x1b[31m\xff")
    bench.turn()
    for price in ("-1", "0", "nan"):
        bench.send("spot", trade(1, price=price))
        bench.turn()
    clock.advance(61)
    bench.send("spot", trade(2, "A\nB"))
    bench.send("futures", "[]")
    bench.turn()
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(" reason=")[0] for line in lines] == [
        "frames quarantined venue=binance.spot count=1", "frames quarantined venue=binance.spot count=4",
        "frames quarantined venue=binance.futures count=1"]
    assert all(line.isprintable() for line in lines) and r"frame=b'<html>\n\x1b[31m\xff'" in lines[0]
    assert len(bench.records.quarantine) == 6


def test_the_end_of_a_burst_of_quarantined_frames_is_told_though_no_other_comes(caplog):
    bench = Bench()
    bench.ingest._clock = clock = FakeClock()
    for payload in ("<1>", "<2>", "<3>"):
        bench.send("spot", payload)
        bench.turn()
    bench.ingest.log_rest()
    assert len(caplog.records) == 1
    clock.advance(61)
    bench.ingest.log_rest()
    assert "venue=binance.spot count=2" in caplog.text and "frame=b'<3>'" in caplog.text
    clock.advance(61)
    bench.ingest.log_rest()
    assert len(caplog.records) == 2


def test_rows_that_only_use_up_an_id_are_no_trades_and_leave_no_gap():
    bench = Bench()
    bench.send("futures", trade(1), trade(2, price="0", kind="NA"), trade(3), trade(4, kind="ADL"))
    batch = bench.turn()
    assert batch.trade_id.tolist() == [1, 3, 4]
    assert batch.flags.tolist() == [0, 0, Flag.ADL]
    assert not bench.records.gaps
    assert bench.stats.get("void_rows_total") == 1
    assert [row[1] for row in bench.records.passed] == [2]
    bench.send("futures", trade(5), trade(6, price="0", kind="NA"))
    bench.turn()
    assert [row[1] for row in bench.records.passed] == [2, 6]


def test_doubles_are_dropped_and_counted_and_a_jump_is_recorded_at_once_and_filled_later():
    bench = Bench()
    bench.send("spot", trade(1), trade(1), trade(4))
    assert bench.turn().trade_id.tolist() == [1, 4]
    assert [(gap.first_id, gap.last_id, gap.state) for gap in bench.records.gaps] == [(2, 3, GapState.OPEN)]
    bench.send("spot", trade(3), trade(2), trade(2))
    assert bench.turn().trade_id.tolist() == [3, 2]
    assert bench.records.gaps[-1].state == GapState.FILLED
    assert bench.stats.get("doubled_trades_total", venue="binance.spot") == 2


def test_a_flood_of_unreadable_frames_is_counted_and_only_some_are_kept():
    bench = Bench()
    bench.send("spot", *["nonsense"] * 500, trade(1))
    assert len(bench.turn()) == 1
    assert bench.stats.get("quarantined_frames_total", venue="binance.spot") == 500
    assert len(bench.records.quarantine) + bench.stats.get("quarantined_frames_not_kept_total", venue="binance.spot") == 500
    assert len(bench.records.quarantine) < 50


def test_frames_beyond_what_quarantine_keeps_are_a_gap_that_grows_while_they_come():
    bench = Bench()
    bench.send("spot", trade(1), *["nonsense"] * 200, trade(2))
    bench.turn()
    (first,) = bench.records.gaps
    assert (first.exchange, first.market_type, first.symbol, first.state) == ("binance", "spot", "", GapState.OPEN)
    bench.send("spot", *["nonsense"] * 200)
    bench.turn()
    grown = bench.records.gaps[-1]
    assert len(bench.records.gaps) == 2 and grown.from_ns == first.from_ns < first.to_ns < grown.to_ns
    bench.turn()
    assert len(bench.records.gaps) == 2  # recorded again only when it grew


def strange(payload_with: bytes, **changes: object):
    """Return a venue whose parser fails in a way no parser may, at frames that hold these bytes."""
    def parse(text, columns) -> None:
        SPOT.parse(text, columns)
        if payload_with in bytes(text):
            raise RuntimeError("dictionary changed size during iteration")
    return replace(SPOT, exchange="strange", parse=parse, **changes)


def add_strange(bench: Bench, venue) -> None:
    bench.catalogue.add(("strange", "spot"), Instrument(symbol="BTCUSDT", base="BTC", quote="USDT"))
    bench.connections["strange"] = heard_connection(bench.ingest.add_venue(venue), [])


def test_a_venue_whose_parser_fails_loses_its_own_frames_by_record_and_no_other_venue_any(caplog):
    bench = Bench()
    add_strange(bench, strange(b"13"))
    bench.send("futures", trade(1))
    before_ns = Clock().now_ns()
    bench.send("strange", trade(5, at_ms=2_000_000_000_003), trade(13))
    assert bench.turn().trade_id.tolist() == [1]
    lost, = bench.records.gaps
    assert (lost.exchange, lost.symbol, lost.state) == ("strange", "", GapState.OPEN)
    assert lost.from_ns < before_ns < lost.to_ns and "dictionary changed size" in lost.reason
    (kept,) = bench.records.quarantine
    assert kept.exchange == "strange" and b'"t": 5' in kept.payload
    assert bench.stats.get("turns_failed_total", venue="strange.spot") == 1
    bench.send("strange", trade(7))
    assert bench.turn().trade_id.tolist() == [7]


def test_a_control_frame_that_cannot_be_handled_is_quarantined_and_costs_no_trade():
    bench = Bench()

    def refuse(control) -> None:
        raise RuntimeError("no such request")

    bench.connections["spot"].source.receive_control = refuse
    bench.send("spot", trade(1), '{"result":null,"id":1}', trade(2))
    bench.send("futures", trade(1))
    assert bench.turn().trade_id.tolist() == [1, 2, 1]
    (kept,) = bench.records.quarantine
    assert kept.payload == b'{"result":null,"id":1}' and "no such request" in kept.reason


def test_rows_that_cannot_be_cleaned_are_a_gap_of_each_venue_and_the_next_turn_goes_on():
    bench = Bench()
    kinds = bench.ingest._kinds
    known = dict(kinds)
    kinds["binance", "spot"] = "nonsense"  # type: ignore[assignment]
    bench.send("spot", trade(1))
    bench.send("futures", trade(1))
    bench.turn()
    assert not bench.batches
    assert {(gap.exchange, gap.market_type) for gap in bench.records.gaps} == {("binance", "spot"), ("binance", "futures")}
    kinds.update(known)
    bench.send("spot", trade(2))
    assert len(bench.turn()) == 1


def test_a_connection_traded_when_its_own_frames_held_trades():
    bench = Bench()
    buffer = bench.connections["spot"].buffer
    quiet, acked, late = (heard_connection(buffer, chunks) for chunks in (
        [], [frame(b'{"result":null,"id":1}')], [frame(trade(2).encode()), frame(b'{"result":null,"id":2}')]))
    acked.sweep(1)
    bench.send("spot", trade(1))
    late.sweep(7)
    late.sweep(8)
    bench.turn()
    assert tuple(connection.source.traded_at_ns for connection in (quiet, acked, late)) == (0, 0, 7)
    assert bench.connections["spot"].source.traded_at_ns > 8


def test_frames_with_several_trades_or_none_are_told_apart_by_connection():
    bench = Bench()

    def parse(text, columns) -> None:
        for numbers in json.loads(bytes(text)):
            columns.counts.append(len(numbers))
            for number in numbers:
                columns.symbol.append("BTCUSDT")
                columns.price.append(1.0)
                columns.quantity.append(1.0)
                columns.sell.append(False)
                columns.trade_id.append(number)
                columns.timestamp.append(1_700_000_000_000)

    add_strange(bench, replace(SPOT, exchange="strange", parse=parse))
    buffer = bench.connections["strange"].buffer
    links = [heard_connection(buffer, [frame(one)])
             for one in (b"[1,2,3]", b"[]", b"[4]", b"[]")]
    for at_ns, link in enumerate(links, 1):
        link.sweep(at_ns)
    batch = bench.turn()
    assert batch.received_at.tolist() == [1, 1, 1, 3]
    assert [link.source.traded_at_ns for link in links] == [1, 0, 3, 0]


def test_ids_that_start_anew_are_told_from_doubles_though_a_trade_was_stamped_hours_ahead():
    bench = Bench()
    now_ms = Clock().now_ns() // 10**6
    for number, ahead_ms in ((5000, 0), (5001, 0), (5002, 0), (5003, 3 * 3_600_000), (5004, 0)):
        bench.send("spot", trade(number, at_ms=now_ms + ahead_ms))
        assert len(bench.turn()) == 1
    bench.send("spot", trade(1, at_ms=now_ms + 20_000))
    assert bench.turn().trade_id.tolist() == [1]
    (gap,) = bench.records.gaps
    assert "restarted its ids" in gap.reason


def test_numbers_are_read_by_the_facts_of_now():
    bench = Bench()
    venue = replace(SPOT, exchange="strange", quantity_unit=QuantityUnit.CONTRACTS)
    add_strange(bench, venue)
    bench.send("strange", trade(1))
    assert bench.turn().quantity.tolist() == [2.0]
    bench.catalogue.add(("strange", "spot"), Instrument(symbol="BTCUSDT", base="BTC", quote="USDT", contract_size=0.01,
                                                        price_divisor=10.0))
    bench.send("strange", trade(2))
    batch = bench.turn()
    assert (batch.quantity.tolist(), batch.price.tolist()) == ([0.02], [0.15])


@recorded
@pytest.mark.parametrize(("market_type", "pattern"), [
    ("spot", "binance_spot_btcusdt_20240808"), ("spot", "binance_spot_btcusdt_20240809"),
    ("spot", "binance_spot_ethusdt_20240808"), ("futures", "binance_usdm_btcusdt_20240808")])
def test_continuous_recordings_give_unbroken_ids_and_their_expected_trades(market_type, pattern):
    with gzip.open(CORPUS / f"{pattern}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    bench = Bench()
    for start in range(0, len(rows), 700):
        bench.send(market_type, *(row["raw"] for row in rows[start : start + 700]))
        bench.turn()
    batch = TradeBatch.concat(bench.batches)
    expected = [one for row in rows for one in row["expected"]]
    assert not bench.records.gaps and not bench.records.quarantine
    assert (np.diff(batch.trade_id) >= 1).all()
    assert batch.trade_id.tolist() == [int(one["trade_id"]) for one in expected]
    assert batch.price.tolist() == [float(one["price"]) for one in expected]
    assert batch.quantity.tolist() == [float(one["quantity"]) for one in expected]
    assert batch.timestamp.tolist() == [one["timestamp_ns"] for one in expected]
    assert batch.side.tolist() == [int(one["side"] == "sell") for one in expected]
