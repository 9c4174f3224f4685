"""A venue that pushes the last trade of a symbol on subscribing, like any other."""

from __future__ import annotations

import json
import time

import pytest
from pumpwatch_plugins.exchanges.okx import VENUES

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.model import Instrument, TradeBatch
from pumpwatch.pipeline import replay_filter as repeats
from pumpwatch.pipeline.ingest import Ingest
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from tests.net.frame_bytes import frame
from tests.pipeline.heard import heard_connection

HOUR_S = 3600
KEY = ("okx", "spot", "SOMI-USDT")


class Bench:
    """An ingest with one connection of such a venue."""

    def __init__(self, last: dict[tuple[str, str, str], tuple[int, int]] | None = None) -> None:
        self.catalogue, self.stats, self.records = Catalogue(), Stats(), Records()
        self.batches: list[TradeBatch] = []
        self.ingest = Ingest(self.catalogue, Clock(), self.stats, 1.0, 5000, self._put)
        self.ingest.continue_after(last or {})
        self.buffer = self.ingest.add_venue(VENUES[0])
        self.catalogue.add(KEY[:2], Instrument(symbol=KEY[2], base="SOMI", quote="USDT"))
        self.connect()

    def connect(self) -> None:
        self.connection = heard_connection(self.buffer, [])

    def _put(self, batch, records) -> None:
        self.batches += [] if batch is None else [batch]
        self.records.extend(records)

    def push(self, *trades: tuple[int, float]) -> list[int]:
        """Send (id, age in s); return the ids that came out."""
        before = len(self.batches)
        for number, age_s in trades:
            at_ms = int((time.time() - age_s) * 1000)
            row = {"instId": KEY[2], "tradeId": str(number), "px": "0.8", "sz": "3", "side": "buy", "ts": str(at_ms)}
            payload = {"arg": {"channel": "trades-all", "instId": KEY[2]}, "data": [row]}
            self.connection.stream.chunks.append(frame(json.dumps(payload).encode()))
        while self.connection.stream.chunks:
            self.connection.sweep(Clock().now_ns())
        self.ingest.turn()
        return [number for batch in self.batches[before:] for number in batch.trade_id.tolist()]


def test_an_old_trade_of_a_symbol_never_seen_is_left_out_and_opens_no_gap():
    bench = Bench()
    assert bench.push((500, HOUR_S)) == []
    assert not bench.connection.source.traded_at_ns and bench.stats.get("trades_total", venue="okx.spot") == 0
    assert bench.push((507, 0), (508, 0)) == [507, 508]
    assert not bench.records.gaps
    assert bench.connection.source.traded_at_ns and bench.stats.get("trades_total", venue="okx.spot") == 2
    assert bench.stats.get("history_rows_left_out_total") == 1


def test_the_last_trade_pushed_again_after_a_reconnect_is_a_double_and_no_sign_of_life():
    bench = Bench()
    bench.push((1, 0), (2, 6))
    bench.connect()
    assert bench.push((2, 9)) == []
    assert not bench.connection.source.traded_at_ns and not bench.records.gaps
    assert bench.stats.get("doubled_trades_total", venue="okx.spot") == 1
    assert bench.push((3, 0)) == [3]


def test_pushed_again_before_anything_new_it_is_left_out_again():
    bench = Bench()
    assert bench.push((500, HOUR_S)) == bench.push((500, HOUR_S)) == []
    assert bench.push((501, 0)) == [501]


@pytest.mark.parametrize(("pushed", "missed"), [(100, None), (101, None), (105, (101, 104))])
def test_after_a_restart_an_old_trade_that_was_missed_is_kept_and_ids_tell_what_else_was(pushed, missed):
    bench = Bench({KEY: (100, time.time_ns() - 2 * HOUR_S * 10**9)})
    assert bench.push((pushed, HOUR_S)) == ([] if pushed == 100 else [pushed])
    assert [(gap.first_id, gap.last_id) for gap in bench.records.gaps] == ([missed] if missed else [])


def test_with_a_clock_that_is_wrong_no_more_than_the_first_trade_is_left_out():
    bench = Bench()
    assert bench.push((1, 60), (2, 60), (3, 60)) == [2, 3]
    assert bench.push((4, 60)) == [4]


def test_missed_trades_pushed_after_a_reconnect_are_stored_and_tell_neither_life_nor_lag():
    bench = Bench()
    bench.push((99, HOUR_S))
    bench.push((100, 0))
    bench.connect()
    lag_ms = bench.stats.get("lag_ms", venue="okx.spot")
    assert [bench.push((number, HOUR_S)) for number in range(101, 110)] == [[number] for number in range(101, 110)]
    assert not bench.connection.source.traded_at_ns and bench.stats.get("lag_ms", venue="okx.spot") == lag_ms < 5000
    assert bench.push((110, 0)) == [110] and bench.connection.source.traded_at_ns


def test_where_nothing_but_old_trades_comes_the_clock_is_wrong_and_they_are_signs_of_life(monkeypatch):
    monkeypatch.setattr(repeats, "ALL_OLD_NS", 0)
    bench = Bench()
    assert bench.push((1, 60), (2, 60)) == [2] and bench.connection.source.traded_at_ns
    assert 59_000 < bench.stats.get("lag_ms", venue="okx.spot") < 70_000
