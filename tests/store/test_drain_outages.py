"""QuestDB killed, hung and suspended in mid-stream: nothing is lost, nothing doubled, and each is said once.

OUTAGE_S in the environment makes the outages longer (30 for the real thing).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.questdb_server import QuestDBServer
from tests.store.under_load import RATE, Load, await_rows

OUTAGE_S = float(os.environ.get("OUTAGE_S", "4"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuestDBServer]:
    made = QuestDBServer(tmp_path_factory.mktemp("questdb"))
    made.start()
    yield made
    made.end()


def states(report: dict[str, Any]) -> list[str]:
    return [line for line in report["log"] if "state=" in line]


def assert_whole(server: QuestDBServer, prefix: str, report: dict[str, Any]) -> None:
    assert report["left"] == 0
    assert server.await_count(report["made"], f"{prefix}trades") == report["made"]
    assert server.value(f"SELECT count_distinct(trade_id) FROM {prefix}trades") == report["made"]
    assert not [line for line in report["log"] if "quarantined" in line]
    said = states(report)  # a busy server may fail once more when it is back
    assert "state=down" in said[0] and "state=up" in said[-1]


def test_a_killed_questdb_gets_everything_when_it_is_back(server: QuestDBServer, tmp_path: Path) -> None:
    load = Load(server, "killed_", tmp_path)
    await_rows(server, "killed_")
    server.kill()
    time.sleep(OUTAGE_S)
    server.start()
    time.sleep(1)
    report = load.finish()
    assert_whole(server, "killed_", report)
    assert report["made"] >= RATE * OUTAGE_S


def test_a_hung_questdb_gets_everything_when_it_wakes(server: QuestDBServer, tmp_path: Path) -> None:
    load = Load(server, "hung_", tmp_path, patience_ms=1_500)
    await_rows(server, "hung_")
    server.hang()
    time.sleep(OUTAGE_S)
    server.unhang()
    time.sleep(1)
    assert_whole(server, "hung_", load.finish())


def test_a_suspended_table_is_said_and_drains_once_it_is_resumed(server: QuestDBServer, tmp_path: Path) -> None:
    load = Load(server, "suspended_", tmp_path)
    await_rows(server, "suspended_")
    server.suspend("suspended_trades")
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
    await_rows(server, "restart_")
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
