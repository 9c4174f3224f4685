"""Recorded frames replayed, and frames made beforehand."""

from __future__ import annotations

import gzip
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websocket

from pumpwatch.errors import ServiceUnavailable
from pumpwatch.sim.ground_truth import SENT, Truth
from pumpwatch.sim.process import SimProcess
from tests.corpus import CORPUS, needs_corpus, rows
from tests.sim.clients import connect, receive, subscribe

SPOT = "binance.spot"
NO_RULES = {SPOT: {"messages_per_second": 0, "connects_per_5_minutes": 0}}


def frame(number: int, symbol: str = "BTCUSDT") -> str:
    return (f'{{"e":"trade","E":{1723161255343 + number},"s":"{symbol}","t":{3735683259 + number},"p":"61837.63000000",'
            f'"q":"0.0{number % 9 + 1}000000","T":{1723161255342 + number},"m":true,"M":true}}')


def tape(folder: Path, frames: list[str], gap_ns: int = 2_000_000) -> str:
    path = folder / "tape.jsonl.gz"
    lines = [json.dumps({"raw": f'{{"stream":"btcusdt@trade","data":{raw}}}', "received_ns": 10**18 + at * gap_ns})
             for at, raw in enumerate(frames)]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return str(path)


def replay(files: list[str], client: websocket.WebSocket | None = None, count: int = 0, path: str = "",
           **options: Any) -> tuple[list[str], Truth, float]:
    """Replay a tape to one client; return its frames, the truth and the seconds it took."""
    with SimProcess(venues=[SPOT], mode="tape", tape={"files": {SPOT: files}, **options}, paused=True) as sim:
        client = connect(sim, SPOT, path)
        subscribe(client, "btcusdt@trade", "ethusdt@trade")
        sim.resume()
        started = time.monotonic()
        frames = [str(client.recv()) for _ in range(count)]
        took = time.monotonic() - started
        sim.pause()
        return frames, sim.truth(), took


def test_a_tape_is_replayed_byte_for_byte_at_its_own_pace(tmp_path: Path) -> None:
    recorded = [frame(number) for number in range(400)]
    frames, truth, took = replay([tape(tmp_path, recorded)], count=400)
    assert frames == recorded
    assert took > 0.7
    records = truth.trades(SPOT)
    assert records["trade_id"].tolist() == [3735683259 + number for number in range(400)]
    assert records["timestamp"].tolist() == [(1723161255342 + number) * 1_000_000 for number in range(400)]
    assert records["price"].tolist() == [61837.63] * 400


def test_a_tape_may_be_faster_and_has_the_client_s_form(tmp_path: Path) -> None:
    recorded = [frame(number) for number in range(200)]
    path = tape(tmp_path, recorded, gap_ns=10**9)
    frames, _, _ = replay([path], count=200, rate=2000.0, path="/stream")
    assert frames[0] == f'{{"stream":"btcusdt@trade","data":{recorded[0]}}}'
    frames, _, _ = replay([path], count=200, speed=400.0)
    assert frames == recorded


def test_a_line_without_a_frame_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text(json.dumps({"raw": frame(1)}) + "\nnonsense\n")
    with pytest.raises(ServiceUnavailable, match="exit code 78"):
        replay([str(path)])
    assert f"{path}:2: not a recorded frame" in capfd.readouterr().err


@needs_corpus
def test_a_real_recording_is_replayed_whole() -> None:
    assert CORPUS is not None
    name = "binance_spot_btcusdt_20240808.jsonl.gz"
    recorded = [json.loads(row["raw"])["data"] for row in rows(name)]
    frames, truth, _ = replay([str(CORPUS / name)], count=len(recorded), rate=10_000.0)
    assert [json.loads(text) for text in frames] == recorded
    assert len(truth.trades()) == len(recorded)


def burst(symbols: int, rate: float, clients: int, **options: Any) -> tuple[SimProcess, list[websocket.WebSocket]]:
    """Start a burst that waits, with symbols dealt out to clients."""
    sim = SimProcess(symbols=symbols, rate=rate, venues=[SPOT], mode="burst", paused=True, rules=NO_RULES,
                     lap_trades=2000, **options)
    sim.start()
    connections = []
    for number in range(clients):
        connection = connect(sim, SPOT)
        subscribe(connection, *(f"{coin.lower()}usdt@trade" for coin in sim.addresses["coins"][number::clients]))
        connections.append(connection)
    return sim, connections


def test_a_burst_goes_round_its_laps_with_ids_that_go_up_and_times_of_now() -> None:
    sim, clients = burst(symbols=6, rate=10_000, clients=2)
    try:
        started = time.time_ns()
        sim.resume()
        received = [receive(client, 3000) for client in clients]
        ended = time.time_ns()
        sim.pause()
        truth = sim.truth()
    finally:
        sim.stop()
    for frames in received:
        assert all(started // 10**6 - 1 <= one["T"] <= ended // 10**6 for one in frames)
        for symbol in {one["s"] for one in frames}:
            ids = [one["t"] for one in frames if one["s"] == symbol]
            assert ids == list(range(ids[0], ids[0] + len(ids)))
    sent = truth.trades()
    by_key = {(truth.symbols[0][one["symbol"]], int(one["trade_id"])): one for one in sent}
    assert len(by_key) == len(sent) >= 6000
    for one in received[0]:
        record = by_key[one["s"], one["t"]]
        assert (float(one["p"]), float(one["q"]), one["T"] * 10**6, one["m"]) == (
            record["price"], record["quantity"], record["timestamp"], record["sell"])


def test_a_client_that_does_not_read_holds_back_itself_alone() -> None:
    sim, (reader, sleeper) = burst(symbols=2, rate=10_000, clients=2, send_buffer_bytes=65_536)
    try:
        sim.resume()
        receive(reader, 8_000)
        status = sim.status()
        assert status["behind"] > 1000
        numbers = [one["connection"] for one in status["venues"][SPOT]["connections"]]
        late = receive(sleeper, 4_000)
        sim.ask("pause")  # not waiting for what the sleeper will never read
        truth = sim.truth()
    finally:
        sim.stop()
    for symbol in {one["s"] for one in late}:
        ids = [one["t"] for one in late if one["s"] == symbol]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len(numbers) == 2
    assert set(truth.records["state"].tolist()) <= {SENT, 11}


def test_ids_go_on_where_a_connection_that_was_cut_left_off() -> None:
    sim, (first,) = burst(symbols=1, rate=5000, clients=1)
    try:
        sim.resume()
        receive(first, 500)
        sim.fault("cut")
        second = connect(sim, SPOT)
        subscribe(second, "btcusdt@trade")
        receive(second, 1500)
        sim.pause()
        truth = sim.truth()
    finally:
        sim.stop()
    ids = np.sort(truth.records["trade_id"][truth.records["state"] == SENT])
    unsent = truth.records["trade_id"][truth.records["state"] != SENT]
    assert len(set(ids.tolist())) == len(ids)
    holes = [number for one, other in pairwise(ids.tolist()) for number in range(one + 1, other)]
    assert set(holes) <= set(unsent.tolist())
