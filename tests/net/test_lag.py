"""The lag of a venue is the slack that its gaps need; a single late trade or a history does not change it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
from pumpwatch_plugins.exchanges.phemex import VENUES

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.model import Instrument
from pumpwatch.net.lag import Lag
from pumpwatch.pipeline.ingest import Ingest
from pumpwatch.stats import Stats
from tests.net.frame_bytes import frame
from tests.pipeline.heard import heard_connection
from tests.trades import batch_of

FUTURES = VENUES[1]
HALF_AN_HOUR_NS = 1800 * NS_PER_S


def lag_after(*reads: list[int]) -> int:
    lag = Lag()
    for ages in reads:
        lag.record(np.array(ages))
    return lag.ns


def test_single_late_or_early_trades_do_not_change_the_lag_but_lasting_delays_do():
    assert lag_after() == 0
    assert lag_after([5, 7, 9000]) == lag_after([7], [9000]) == lag_after([9000], [-9000], [7]) == 7
    assert lag_after([7], [7], [8], [9000], [9000]) == 8
    assert lag_after([7], [7], [7], [9000], [9000], [9000]) == 9000
    assert lag_after([-9000], [-9000]) == -9000


class Link:
    """A connection of a venue that sends past trades on subscribing."""

    def __init__(self, buffer) -> None:
        self.connection = heard_connection(buffer, [])

    def read(self, kind: str, *times_ns: int) -> None:
        rows = [[at_ns, "Buy", "76426.7", "0.091"] for at_ns in sorted(times_ns, reverse=True)]
        text = json.dumps({"dts": 1, "mts": 1, "sequence": 1, "symbol": "BTCUSDT", "trades_p": rows, "type": kind})
        self.connection.stream.chunks.append(frame(text.encode()))
        self.connection.sweep(Clock().now_ns())


def test_trades_of_the_history_sent_on_subscribing_are_stored_and_tell_neither_life_nor_lag():
    catalogue, stats, stored = Catalogue(), Stats(), []
    catalogue.add(("phemex", "futures"), Instrument(symbol="BTCUSDT", base="BTC", quote="USDT"))
    ingest = Ingest(catalogue, Clock(), stats, 1.0, 5000, lambda batch, records: stored.append(batch))
    first, second = (Link(buffer) for buffer in [ingest.add_venue(FUTURES)] * 2)
    now_ns = Clock().now_ns()
    missed_ns = now_ns - HALF_AN_HOUR_NS
    first.read("incremental", missed_ns - 9 * NS_PER_S)
    for _ in range(5):
        now_ns += 1
        first.read("incremental", now_ns)
        ingest.turn()
    second.read("snapshot", now_ns, now_ns + 1)
    ingest.turn()
    assert sum(map(len, stored)) == 7 and stats.get("trades_total", venue="phemex.futures") == 7
    assert not second.connection.source.traded_at_ns
    second.read("incremental", now_ns + 2)
    ingest.turn()
    assert second.connection.source.traded_at_ns


def test_missed_trades_of_half_an_hour_ago_in_a_history_leave_the_lag_as_it_was():
    catalogue, stats = Catalogue(), Stats()
    catalogue.add(("phemex", "futures"), Instrument(symbol="BTCUSDT", base="BTC", quote="USDT"))
    ingest = Ingest(catalogue, Clock(), stats, 1.0, 5000, lambda batch, records: None)
    ingest.continue_after({("phemex", "futures", "BTCUSDT"): (-1, 1)})
    link = Link(ingest.add_venue(FUTURES))
    link.read("snapshot", *(Clock().now_ns() - HALF_AN_HOUR_NS + number for number in range(3)))
    ingest.turn()
    assert stats.get("trades_total", venue="phemex.futures") == 3
    assert stats.get("lag_ms", venue="phemex.futures") == 0 and not link.connection.source.traded_at_ns


def test_trades_hours_ahead_of_the_others_have_the_time_of_their_arrival_and_a_wrong_clock_of_ours_changes_nothing():
    for off_ns in (0, -2 * 86_400 * 10**9, 5 * 86_400 * 10**9):
        lag, now_ns = Lag(), 1_790_000_000 * 10**9
        lag.record(np.full(10, off_ns + 20_000_000))
        times = now_ns + np.arange(10) * 1000
        batch = replace(batch_of(10), timestamp=times, received_at=times + off_ns + 20_000_000)
        assert lag.corrected_times(batch) is None
        ahead = times.copy()
        ahead[3] += 3 * 3600 * 10**9
        settled = lag.corrected_times(replace(batch, timestamp=ahead))
        assert settled is not None and settled.tolist() == times.tolist()
