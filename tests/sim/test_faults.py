"""Faults happen to whom they are meant for, and the truth knows what was sent all the same."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import websocket

from pumpwatch.errors import UsageError
from pumpwatch.sim.faults import MALFORMED
from pumpwatch.sim.ground_truth import DOUBLED, SENT, SPOILT, UNSENT, WITHHELD, Truth
from pumpwatch.sim.process import SimProcess
from tests.sim.clients import closed_with, connect, drained, get, receive, subscribe

SPOT = "binance.spot"


@pytest.fixture(scope="module")
def sim() -> Iterator[SimProcess]:
    with SimProcess(symbols=6, rate=1500, venues=[SPOT]) as running:
        yield running


@pytest.fixture
def client(sim: SimProcess) -> Iterator[websocket.WebSocket]:
    connection = connect(sim, SPOT)
    subscribe(connection, "btcusdt@trade")
    receive(connection, 5)
    yield connection
    connection.shutdown()
    while sim.status()["venues"][SPOT]["connections"]:
        time.sleep(0.02)


def number_of(sim: SimProcess) -> int:
    [connection] = sim.status()["venues"][SPOT]["connections"]
    return int(connection["connection"])


def ids(frames: list[dict[str, Any]]) -> list[int]:
    return [frame["t"] for frame in frames]


def states(truth: Truth, connection: int) -> dict[int, list[int]]:
    """Return trade ids by state on a connection."""
    records = truth.records[truth.records["connection"] == connection]
    found = set(records["state"].tolist())
    return {state: records["trade_id"][records["state"] == state].tolist() for state in found}


def ended(sim: SimProcess, connection: int) -> dict[str, Any]:
    """Wait for the end of a connection and return its event."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for event in sim.truth().events:
            if event["kind"] == "down" and event["connection"] == connection:
                return event
        time.sleep(0.05)
    raise AssertionError("the connection did not end")


@pytest.mark.parametrize("kind", ["cut", "fin"])
def test_a_cut_ends_it_without_a_close(sim: SimProcess, client: websocket.WebSocket, kind: str) -> None:
    number = number_of(sim)
    assert sim.fault(kind, venue=SPOT)["connections"] == [number]
    assert websocket.ABNF.OPCODE_CLOSE not in {opcode for opcode, _ in drained(client)}
    assert ended(sim, number)["reason"] == f"fault: {kind}"


def test_a_close_has_its_code_and_reason(sim: SimProcess, client: websocket.WebSocket) -> None:
    sim.fault("close")
    assert closed_with(client) == (1008, "Too many requests")


def test_a_slow_close_keeps_tcp_open_and_answers_nothing(sim: SimProcess, client: websocket.WebSocket) -> None:
    number = number_of(sim)
    sim.fault("slow_close", code=1001, reason="bye", seconds=0.5)
    assert closed_with(client) == (1001, "bye")
    client.ping("x")
    client.settimeout(0.5)
    with pytest.raises(websocket.WebSocketTimeoutException):
        client.recv_data(control_frame=True)
    assert ended(sim, number)["reason"] == "closed 1001 bye"


def test_silence_withholds_trades_and_still_answers_pings(sim: SimProcess, client: websocket.WebSocket) -> None:
    number = number_of(sim)
    sim.fault("silence", connection=number, seconds=1.0)
    last = json.loads(drained(client, 0.3)[-1][1])["t"]
    client.settimeout(20)
    client.ping("still there")
    assert client.recv_data(control_frame=True)[0] == websocket.ABNF.OPCODE_PONG
    after = ids(receive(client, 20))
    assert after[0] > last + 1
    sim.pause()
    found = states(sim.truth(), number)
    assert found[WITHHELD] == list(range(last + 1, after[0]))
    sim.resume()


def test_a_mute_symbol_is_withheld_from_its_connection_and_the_others_flow(sim: SimProcess, client: websocket.WebSocket) -> None:
    subscribe(client, "ethusdt@trade")
    number = number_of(sim)
    sim.fault("mute", symbol="BTCUSDT", connection=number, seconds=5.0)
    assert {frame["s"] for frame in receive(client, 200)[-50:]} == {"ETHUSDT"}
    until = time.monotonic() + 60
    while receive(client, 1)[0]["s"] != "BTCUSDT":
        assert time.monotonic() < until
    sim.pause()
    names = sim.truth().symbols[0]
    records = sim.truth().records
    withheld = records[(records["connection"] == number) & (records["state"] == WITHHELD)]
    assert {names[one] for one in withheld["symbol"].tolist()} == {"BTCUSDT"}
    sim.resume()
    with pytest.raises(UsageError, match="no symbol `BTC-USDT`"):
        sim.fault("mute", symbol="BTC-USDT")


def test_a_frozen_network_delivers_everything_late(sim: SimProcess, client: websocket.WebSocket) -> None:
    sim.fault("freeze", seconds=1.0)
    frames, late_s = [], []
    for _ in range(600):
        frames += receive(client, 1)
        late_s.append(time.time() - frames[-1]["T"] / 1000)
    assert max(late_s) > 0.5
    assert ids(frames) == list(range(frames[0]["t"], frames[0]["t"] + 600))


def test_dropped_frames_leave_a_hole_and_doubled_ones_come_twice(sim: SimProcess, client: websocket.WebSocket) -> None:
    number = number_of(sim)
    sim.fault("drop", count=3)
    frames = ids(receive(client, 300))
    [hole] = [(one, other) for one, other in pairwise(frames) if other != one + 1]
    assert hole[1] - hole[0] == 4
    sim.fault("double", count=2)
    frames = ids(receive(client, 300))
    twice = sorted({one for one in frames if frames.count(one) == 2})
    assert len(twice) == 2
    sim.pause()
    found = states(sim.truth(), number)
    assert found[WITHHELD] == list(range(hole[0] + 1, hole[1]))
    assert found[DOUBLED] == twice
    sim.resume()


def test_reordered_frames_come_backwards_and_none_is_missing(sim: SimProcess, client: websocket.WebSocket) -> None:
    sim.fault("reorder", count=4)
    frames = ids(receive(client, 300))
    assert frames != sorted(frames)
    assert sorted(frames) == list(range(min(frames), min(frames) + 300))
    first = next(at for at, (one, other) in enumerate(pairwise(frames)) if other < one)
    assert frames[first:first + 4] == sorted(frames[first:first + 4], reverse=True)


def test_a_spoilt_frame_is_half_and_truth_does_not_count_it(sim: SimProcess, client: websocket.WebSocket) -> None:
    number = number_of(sim)
    sim.fault("spoil", count=1)
    texts = [client.recv() for _ in range(200)]
    broken = [text for text in texts if not text.endswith("}")]
    assert len(broken) == 1
    sim.pause()
    truth = sim.truth()
    [lost] = states(truth, number)[SPOILT]
    assert lost in states(truth, number)[SPOILT]
    assert (SPOT, "BTCUSDT", lost) not in truth.keys(truth.trades())
    sim.resume()


def test_fragments_are_joined_by_another_client(sim: SimProcess, client: websocket.WebSocket) -> None:
    sim.fault("fragment", count=5)
    frames = ids(receive(client, 200))
    assert frames == list(range(frames[0], frames[0] + 200))


def test_every_malformed_frame_arrives_as_it_is(sim: SimProcess, client: websocket.WebSocket) -> None:
    sim.fault("malformed", count=len(MALFORMED))
    wanted = {payload for payload, _ in MALFORMED.values()}
    client.skip_utf8_validation = True
    client.frame_buffer.skip_utf8_validation = client.cont_frame.skip_utf8_validation = True
    found = set()
    for _ in range(300):
        _, data = client.recv_data()
        found |= {data} & wanted
    assert found == wanted


def test_maintenance_is_announced_and_then_it_closes(sim: SimProcess, client: websocket.WebSocket) -> None:
    sim.fault("maintenance", seconds=0.5)
    seen = []
    while not seen or seen[-1].get("e") != "serverShutdown":
        seen.append(json.loads(client.recv()))
    assert closed_with(client) == (1001, "going away")


def test_handshakes_and_rest_are_refused_for_a_while(sim: SimProcess) -> None:
    sim.fault("refuse", status=503, seconds=0.6)
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        connect(sim, SPOT)
    assert caught.value.status_code == 503
    sim.fault("rest", status=500, seconds=0.6)
    url = sim.addresses["venues"][SPOT]["rest_url"] + "/api/v3/ping"
    assert get(sim, url).status == 500
    time.sleep(0.7)
    assert get(sim, url).status == 200
    connect(sim, SPOT).close()


def test_a_venue_that_is_down_or_hangs_makes_no_connection_and_comes_back(sim: SimProcess) -> None:
    sim.fault("down", seconds=0.5)
    with pytest.raises((ConnectionError, ssl.SSLError, websocket.WebSocketException)):
        connect(sim, SPOT)
    sim.fault("hang", seconds=1.0)
    with pytest.raises((TimeoutError, ssl.SSLError, websocket.WebSocketException)):
        connect(sim, SPOT, timeout_s=0.2)
    connect(sim, SPOT).close()


def test_frames_queued_at_a_cut_are_unsent(sim: SimProcess, client: websocket.WebSocket) -> None:
    number = number_of(sim)
    sim.fault("freeze", seconds=30)
    time.sleep(0.5)
    sim.fault("cut", connection=number)
    got = [json.loads(data)["t"] for opcode, data in drained(client) if opcode == websocket.ABNF.OPCODE_TEXT]
    ended(sim, number)
    sim.pause()
    found = states(sim.truth(), number)
    assert len(found[UNSENT]) > 50
    assert found[UNSENT][0] == found[SENT][-1] + 1
    assert set(got) <= set(found[SENT])
    sim.resume()


def test_over_many_cuts_and_closes_truth_and_client_agree_to_the_trade(sim: SimProcess) -> None:
    for number, kind in enumerate(["cut", "fin", "close", "cut", "maintenance", "fin"]):
        client = connect(sim, SPOT)
        subscribe(client, "btcusdt@trade", "ethusdt@trade", "solusdt@trade")
        connection = number_of(sim)
        frames = receive(client, 37 * (number + 1))
        sim.fault(kind, seconds=0.1)
        frames += [json.loads(data) for opcode, data in drained(client) if opcode == websocket.ABNF.OPCODE_TEXT]
        client.shutdown()
        ended(sim, connection)
        sim.pause()
        truth = sim.truth()
        sent = truth.records[(truth.records["connection"] == connection) & (truth.records["state"] == SENT)]
        got = {(SPOT, frame["s"], frame["t"]) for frame in frames if frame["e"] == "trade"}
        assert got <= truth.keys(sent)
        if kind != "cut":  # a reset may overtake what the kernel still had
            assert len(got) == len(sent)
        sim.resume()


def test_an_unknown_fault_is_rejected_with_the_known_ones(sim: SimProcess) -> None:
    with pytest.raises(UsageError, match="no fault `melt`"):
        sim.fault("melt")
    with pytest.raises(UsageError, match="nosuch"):
        sim.fault("cut", venue="nosuch")
    with pytest.raises(UsageError, match="unknown key `wher`"):
        sim.ask("fault", kind="cut", wher="there")
    with pytest.raises(UsageError, match="no command `dance`"):
        sim.ask("dance")


def test_faults_and_the_end_come_by_schedule() -> None:
    plan = [{"kind": "close", "at_s": 0.6, "code": 1012, "reason": "restart"}]
    with SimProcess(symbols=2, rate=500, venues=[SPOT], faults=plan, seconds=1.0, paused=True) as sim:
        client = connect(sim, SPOT)
        subscribe(client, "btcusdt@trade")
        sim.resume()
        assert closed_with(client) == (1012, "restart")
        while sim.status()["running"]:
            time.sleep(0.05)
        assert 490 <= sim.status()["venues"][SPOT]["made"] <= 500
