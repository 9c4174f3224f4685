"""Frames made beforehand that leave one at a time."""

from __future__ import annotations

import time

import numpy as np

from pumpwatch.sim.paced import APART_S, LATEST_S, Departures
from pumpwatch.sim.process import SimProcess
from tests.sim.clients import connect, receive, subscribe

SPOT = "binance.spot"


def test_paced_frames_leave_one_by_one_and_go_on_with_their_ids_when_a_connection_joins() -> None:
    with SimProcess(symbols=4, rate=2_000, venues=[SPOT], mode="paced", tick_ms=0.2, paused=True, lap_trades=400) as sim:
        first, second = connect(sim, SPOT), connect(sim, SPOT)
        topics = [f"{coin.lower()}usdt@trade" for coin in sim.addresses["coins"]]
        subscribe(first, *topics[:2])
        sim.resume()
        received = receive(first, 1_000)
        subscribe(second, *topics[2:])
        joined = receive(second, 500)
        received += receive(first, 500)
        sim.pause()
        truth = sim.truth()
    assert {frame["s"] for frame in joined}.isdisjoint({frame["s"] for frame in received})
    for frames in (received, joined):
        for symbol in {frame["s"] for frame in frames}:
            ids = [frame["t"] for frame in frames if frame["s"] == symbol]
            assert ids == list(range(ids[0], ids[0] + len(ids)))  # across laps, plans and the new connection
    records = truth.trades(SPOT)
    sent = {(truth.symbols[0][record["symbol"]], int(record["trade_id"])): record for record in records}
    assert len(sent) == len(records) >= 2_000
    for frame in (*received, *joined):
        record = sent[frame["s"], frame["t"]]
        assert (float(frame["p"]), float(frame["q"]), frame["T"] * 10**6) == (
            record["price"], record["quantity"], record["timestamp"])
    assert len(np.unique(records["sent_at"])) == len(records)  # a moment for each


def test_few_frames_a_second_begin_at_once_and_not_when_a_whole_one_is_due_on_each_connection() -> None:
    with SimProcess(symbols=8, rate=8, venues=[SPOT], mode="paced", tick_ms=1, paused=True, lap_trades=400) as sim:
        connections = [connect(sim, SPOT) for _ in range(8)]
        for connection, coin in zip(connections, sim.addresses["coins"], strict=True):
            subscribe(connection, f"{coin.lower()}usdt@trade")
        sim.resume(rate=4)
        time.sleep(1.0)  # at that rate a connection has its share, half a trade
        sim.pause()
        assert len(sim.truth().trades(SPOT)) >= 2


def test_frames_that_fell_due_together_leave_one_after_the_other_unless_they_are_very_late() -> None:
    departures = Departures()
    assert departures.leave(1.0, 0.01)
    assert not departures.leave(1.0 + APART_S / 2, 0.01)
    assert departures.leave(1.0 + APART_S * 1.1, 0.01)
    assert departures.leave(1.0 + APART_S * 1.2, LATEST_S)
