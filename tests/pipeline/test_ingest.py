"""Frames of several venues in, one clean batch a turn out."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.model import ControlKind, Flag, GapState, Instrument, TradeBatch
from pumpwatch.net.connection import Connection
from pumpwatch.pipeline.ingest import Ingest
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from tests.corpus import CORPUS
from tests.net.test_connection import ScriptedStream, frame

recorded = pytest.mark.skipif(CORPUS is None, reason="the recorded frames are not on this machine")
SPOT, FUTURES = VENUES[0], VENUES[1]


class Bench:
    """An ingest with a connection for each of two venues, and what came out of it."""

    def __init__(self, *symbols: str) -> None:
        self.catalogue, self.stats = Catalogue(), Stats()
        self.batches: list[TradeBatch] = []
        self.records = Records()
        self.ingest = Ingest(self.catalogue, Clock(), self.stats, 1.0, 5000, self._put)
        self.controls: list[ControlKind] = []
        self.connections = {}
        for venue in (SPOT, FUTURES):
            for symbol in symbols or ("BTCUSDT", "ETHUSDT"):
                self.catalogue.add((venue.exchange, venue.market_type),
                                   Instrument(symbol=symbol, base=symbol[:-4], quote="USDT"))
            connection = Connection(ScriptedStream([]), self.ingest.add_venue(venue), 1 << 20, lambda reason: None)
            connection.on_control = lambda control: self.controls.append(control.kind)
            self.connections[venue.market_type] = connection

    def _put(self, batch, records) -> None:
        if batch is not None:
            self.batches.append(batch)
        self.records.extend(records)

    def send(self, market_type: str, *payloads: str | bytes) -> None:
        connection = self.connections[market_type]
        data = b"".join(frame(one.encode() if isinstance(one, str) else one) for one in payloads)
        connection.stream.chunks += [data[at : at + 200_000] for at in range(0, len(data), 200_000)]
        while connection.stream.chunks:
            connection.sweep(Clock().now_ns())

    def turn(self) -> TradeBatch:
        before = len(self.batches)
        self.ingest.turn()
        return TradeBatch.concat(self.batches[before:])


def trade(number: int, symbol: str = "BTCUSDT", price: str = "1.5", kind: str = "MARKET", at_ms: int = 1_700_000_000_000) -> str:
    return json.dumps({"e": "trade", "E": at_ms, "T": at_ms, "s": symbol, "t": number, "p": price, "q": "2", "X": kind, "m": True})


def test_a_turn_makes_one_batch_of_all_venues():
    bench = Bench()
    bench.send("spot", trade(1), trade(1, "ETHUSDT"))
    bench.send("futures", trade(7))
    batch = bench.turn()
    assert len(bench.batches) == 1
    assert bench.catalogue.names(batch.instrument) == [
        ("binance", "spot", "BTCUSDT"), ("binance", "spot", "ETHUSDT"), ("binance", "futures", "BTCUSDT")]
    assert (batch.received_at > batch.timestamp).all()
    assert bench.connections["spot"].traded


def test_what_is_no_trade_is_handed_on_or_quarantined_and_stops_nothing():
    bench = Bench()
    bench.send("spot", '{"result":null,"id":1}', trade(1), "<html>", trade(2), trade(3, "NEWUSDT"), "{}", trade(3))
    batch = bench.turn()
    assert batch.trade_id.tolist() == [1, 2, 3]
    assert bench.controls == [ControlKind.ACK]
    assert [(one.payload, one.reason) for one in bench.records.quarantine][1][1] == "unknown symbol 'NEWUSDT'"
    assert len(bench.records.quarantine) == 3


def test_rows_that_only_use_up_an_id_are_no_trades_and_leave_no_gap():
    bench = Bench()
    bench.send("futures", trade(1), trade(2, price="0", kind="NA"), trade(3), trade(4, kind="ADL"))
    batch = bench.turn()
    assert batch.trade_id.tolist() == [1, 3, 4]
    assert batch.flags.tolist() == [0, 0, Flag.ADL]
    assert not bench.records.gaps
    assert bench.stats.get("void_rows_total") == 1


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
