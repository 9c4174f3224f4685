"""Another exchange is one plugin file, however different its protocol is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websocket

from pumpwatch.config import Config
from pumpwatch.model import ControlKind
from pumpwatch.plugins import load_plugins
from pumpwatch.sim.dialect import Dialect
from pumpwatch.sim.ground_truth import NO_SUBSCRIBER, PAST, SENT
from pumpwatch.sim.process import SimProcess
from tests.sim.clients import closed_with, connect, drained, get

OTHER = "other.spot"
FOLDER = str(Path(__file__).parent / "plugins")


@pytest.fixture(scope="module")
def sim() -> Iterator[SimProcess]:
    with SimProcess(venues=[OTHER], plugin_folder=FOLDER, symbols=["BTC", "ETH", "MADEUP"], rate=2000) as running:
        yield running


def token_of(sim: SimProcess) -> str:
    url = sim.addresses["venues"][OTHER]["rest_url"].removesuffix("/rest") + "/token"
    return str(get(sim, url, body=b"{}").json["token"])


def opened(sim: SimProcess) -> websocket.WebSocket:
    connection = connect(sim, OTHER, f"/feed?token={token_of(sim)}")
    assert json.loads(connection.recv()) == {"type": "welcome"}
    return connection


def ask(connection: websocket.WebSocket, *names: str) -> list[dict[str, Any]]:
    connection.send(json.dumps({"subscribe": names}))
    return [json.loads(connection.recv())]


def test_a_token_is_good_for_one_connection(sim: SimProcess) -> None:
    token = token_of(sim)
    connect(sim, OTHER, f"/feed?token={token}").close()
    for stale in (token, "none"):
        with pytest.raises(websocket.WebSocketBadStatusException):
            connect(sim, OTHER, f"/feed?token={stale}")


def test_a_batch_with_an_unknown_symbol_is_refused_whole(sim: SimProcess) -> None:
    connection = opened(sim)
    assert ask(connection, "BTC-USDT", "NOPE") == [{"error": "unknown NOPE, nothing subscribed"}]
    assert {opcode for opcode, _ in drained(connection, 0.3)} <= {websocket.ABNF.OPCODE_CLOSE}


def test_a_text_ping_is_due_and_keeps_the_connection(sim: SimProcess) -> None:
    connection, idle = opened(sim), opened(sim)
    for _ in range(9):
        connection.send("ping")
        assert connection.recv() == "pong"
        time.sleep(0.2)
    assert drained(idle) == []
    connection.send("ping")
    assert connection.recv() == "pong"


def test_too_many_symbols_close_it_with_the_venues_own_code(sim: SimProcess) -> None:
    connection = opened(sim)
    ask(connection, "BTC-USDT", "ETH-USDT", "MADEUP-USDT")
    connection.send('{"subscribe":["BTC-USDT"]}')
    assert closed_with(connection) == (4000, "subscription limit exceeded")


def test_past_trades_come_first_then_frames_of_several_and_truth_knows_both(sim: SimProcess) -> None:
    connection = opened(sim)
    ask(connection, "BTC-USDT")
    number = sim.status()["venues"][OTHER]["connections"][-1]["connection"]
    frames = []
    for _ in range(60):
        opcode, data = connection.recv_data()
        assert opcode == websocket.ABNF.OPCODE_BINARY
        frames.append(json.loads(data))
    sim.pause()
    frames += [json.loads(data) for opcode, data in drained(connection, 0.2) if opcode == websocket.ABNF.OPCODE_BINARY]
    assert [frame["type"] for frame in frames[:2]] == ["snapshot", "update"]
    assert 1 < max(len(frame["trades"]) for frame in frames[1:]) <= 4
    ids = [trade[0] for frame in frames for trade in frame["trades"]]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    truth = sim.truth()
    mine = truth.records[truth.records["connection"] == number]
    past, sent = mine[mine["state"] == PAST], mine[mine["state"] == SENT]
    assert past["trade_id"].tolist() == ids[:50]
    assert sent["trade_id"].tolist() == ids[50:]
    before = truth.records[(truth.records["state"] == NO_SUBSCRIBER) & (truth.records["symbol"] == 0)]
    assert set(past["trade_id"].tolist()) - set(before["trade_id"].tolist()) <= set(truth.records["trade_id"].tolist())
    sim.resume()


def test_a_tape_of_frames_with_several_trades_keeps_them_together(tmp_path: Path) -> None:
    recorded = [{"type": "update", "symbol": "X-USDT", "trades": [[at * 3 + n, at, "1.25", "7"] for n in range(3)]}
                for at in range(50)]
    path = tmp_path / "tape.jsonl"
    lines = [json.dumps({"raw": json.dumps(one), "received_ns": at}) for at, one in enumerate(recorded)]
    path.write_text("\n".join(lines))
    options = {"mode": "tape", "tape": {"files": {OTHER: [str(path)]}, "rate": 1000.0}, "paused": True}
    with SimProcess(venues=[OTHER], plugin_folder=FOLDER, **options) as sim:
        connection = opened(sim)
        ask(connection, "X-USDT")
        sim.resume()
        assert [json.loads(connection.recv_data()[1]) for _ in recorded] == recorded
        sim.pause()
        sent = sim.truth().trades()
    assert sent["trade_id"].tolist() == list(range(150))
    assert set(sent["price"].tolist()) == {1.25}


@pytest.mark.parametrize("name", ["binance.spot", "binance.futures", "okx.spot", "okx.futures", "gate.spot", "gate.futures"])
def test_the_notice_before_a_shutdown_lets_the_venues_own_plugin_reconnect(name: str) -> None:
    plugins = load_plugins(Config())
    venue = next(venue for venue in plugins.venues if venue.name == name and not venue.variant)
    dialect = next(dialect for dialect in plugins.dialects if dialect.name == name)
    assert isinstance(dialect, Dialect)
    for form in ("plain", "combined"):
        notice = dialect.maintenance(form, time.time_ns())
        assert notice is not None
        control = venue.read_control(notice)
        assert control is not None and control.kind == ControlKind.RECONNECT
