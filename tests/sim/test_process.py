"""The simulator as a process: it starts, takes commands, and always ends."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pumpwatch import config
from pumpwatch.sim.process import SimProcess
from tests.sim.clients import connect, drained, subscribe


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "pumpwatch.sim", *arguments], stdin=subprocess.PIPE, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_its_config_points_at_its_addresses(tmp_path: Path) -> None:
    with SimProcess(symbols=3, rate=10, venues=["binance.futures"]) as sim:
        path = tmp_path / "pumpwatch.yaml"
        path.write_text(sim.config_yaml())
        read, venues = config.load(path, {}), sim.addresses["venues"]
        assert read.exchanges["binance"].futures.ws_url == venues["binance.futures"]["ws_url"]
        assert not read.exchanges["binance"].spot.enabled
        assert read.net.ca_file == sim.addresses["ca_file"]
        assert read.listing.sources["upbit"].url == sim.addresses["boards"]["upbit"]["url"]


def test_it_takes_commands_on_stdin_and_ends_with_it(tmp_path: Path) -> None:
    child = start(json.dumps({"symbols": 2, "rate": 10, "folder": str(tmp_path)}))
    assert child.stdin is not None
    assert child.stdout is not None
    assert json.loads(child.stdout.readline())["pid"] == child.pid
    answers = []
    for line in ('{"do":"status"}', '{"do":"fault","kind":"cut"}', "nonsense", '{"do":"fault","kind":"melt"}'):
        child.stdin.write(line + "\n")
        child.stdin.flush()
        answers.append(json.loads(child.stdout.readline()))
    assert answers[0]["running"] is True
    assert answers[1] == {"fault": "cut", "connections": []}
    assert "error" in answers[2]
    assert "no fault `melt`" in answers[3]["error"]
    child.communicate(timeout=20)
    assert child.returncode == 0


def test_sigterm_completes_the_ground_truth() -> None:
    sim = SimProcess(symbols=2, rate=5000, venues=["binance.spot"])
    with sim:
        connection = connect(sim, "binance.spot")
        subscribe(connection, "btcusdt@trade", "ethusdt@trade")
        time.sleep(0.5)
        sim.stop()
        received = 0
        for opcode, _ in drained(connection):
            received += opcode == 1
    assert received == len(sim.truth().trades()) > 100


@pytest.mark.parametrize(("options", "code", "words"), [
    ({"symbol": 3}, 78, "did you mean `symbols`"),
    ({"venues": ["nosuch.spot"]}, 78, "nosuch.spot"),
    ({"rules": {"binance.spot": {"speed": 1}}}, 78, "rules of binance.spot"),
    ({"mode": "dream"}, 78, "dream"),
    ("[", 2, "one JSON object"),
])
def test_invalid_options_are_rejected(options: Any, code: int, words: str) -> None:
    child = start(options if isinstance(options, str) else json.dumps(options))
    _, errors = child.communicate(timeout=30)
    assert (child.returncode, words in errors) == (code, True), errors


def test_the_same_seed_makes_the_same_market() -> None:
    made = []
    for _ in range(2):
        with SimProcess(symbols=4, rate=2000, seed=7, seconds=0.5, venues=["binance.spot"]) as sim:
            while sim.status()["running"]:
                time.sleep(0.05)
            sim.stop()
            records = sim.truth().records[:900]
        made.append(list(zip(*(records[name].tolist() for name in ("symbol", "trade_id", "price", "quantity", "sell")),
                             strict=True)))
    assert made[0] == made[1]
