"""QuestDB killed, hung and suspended in mid-stream: nothing is lost, nothing doubled, and each is said once.

OUTAGE_S in the environment makes the outages longer (30 for the real thing).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.questdb_server import QuestDBServer

ROOT = Path(__file__).resolve().parents[2]
OUTAGE_S = float(os.environ.get("OUTAGE_S", "4"))
RATE = 5_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuestDBServer]:
    made = QuestDBServer(tmp_path_factory.mktemp("questdb"))
    made.start()
    yield made
    made.end()


class Load:
    """The process of drain_under_load."""

    def __init__(self, server: QuestDBServer, prefix: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.store.drain_under_load", server.addr, prefix, str(folder), str(RATE)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    def finish(self) -> dict[str, Any]:
        """Stop the making of trades, wait until all are sent, and return the report."""
        out, _ = self._process.communicate(timeout=150)
        assert self._process.returncode == 0
        report: dict[str, Any] = json.loads(out)
        return report

    def kill(self) -> None:
        """End the process as the kernel would."""
        self._process.kill()
        self._process.communicate()


def states(report: dict[str, Any]) -> list[str]:
    return [line for line in report["log"] if "state=" in line]


def assert_whole(server: QuestDBServer, prefix: str, report: dict[str, Any]) -> None:
    assert report["left"] == 0
    assert server.await_count(report["made"], f"{prefix}trades") == report["made"]
    assert server.value(f"SELECT count_distinct(trade_id) FROM {prefix}trades") == report["made"]
    assert not [line for line in report["log"] if "quarantined" in line]
    down, up = states(report)
    assert "state=down" in down
    assert "state=up" in up


def test_a_killed_questdb_gets_everything_when_it_is_back(server: QuestDBServer, tmp_path: Path) -> None:
    load = Load(server, "killed_", tmp_path)
    time.sleep(2)
    server.kill()
    time.sleep(OUTAGE_S)
    server.start()
    time.sleep(1)
    report = load.finish()
    assert_whole(server, "killed_", report)
    assert report["made"] >= RATE * OUTAGE_S


def test_a_hung_questdb_gets_everything_when_it_wakes(server: QuestDBServer, tmp_path: Path) -> None:
    load = Load(server, "hung_", tmp_path)
    time.sleep(2)
    server.hang()
    time.sleep(OUTAGE_S)
    server.unhang()
    time.sleep(1)
    assert_whole(server, "hung_", load.finish())


def test_a_suspended_table_is_said_and_drains_once_it_is_resumed(server: QuestDBServer, tmp_path: Path) -> None:
    load = Load(server, "suspended_", tmp_path)
    time.sleep(2)
    server.sql("ALTER TABLE suspended_trades SUSPEND WAL")
    time.sleep(OUTAGE_S)
    seen = server.count("suspended_trades")
    server.sql("ALTER TABLE suspended_trades RESUME WAL")
    time.sleep(1)
    report = load.finish()
    assert_whole(server, "suspended_", report)
    assert seen < report["made"]
    assert "table suspended_trades is suspended" in states(report)[0]


def test_what_a_killed_collector_left_is_sent_by_the_next_one(server: QuestDBServer, tmp_path: Path) -> None:
    """The journal has what the sink lacks; what was sent and not yet noted as such is sent again, harmlessly."""
    load = Load(server, "restart_", tmp_path)
    time.sleep(1)
    server.hang()
    time.sleep(2)
    load.kill()
    server.unhang()
    report = Load(server, "restart_", tmp_path).finish()
    assert report["left"] == 0
    stored = server.await_count(report["made"] + 1, "restart_trades")
    assert stored > report["made"] + RATE // 2, "the first one's trades are there as well"
    time.sleep(0.5)
    assert server.value("SELECT count_distinct(trade_id) FROM restart_trades") == server.count("restart_trades")
