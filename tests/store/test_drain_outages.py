"""QuestDB hung and suspended in mid-stream, a collector killed: nothing is lost, nothing doubled, and each is said once.

tests/app/test_collect.py kills it.

OUTAGE_S in the environment makes the outages longer (30 for the real thing).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from tests.questdb_server import QuestDBServer
from tests.store.under_load import RATE, Load, await_rows

OUTAGE_S = float(os.environ.get("OUTAGE_S", "4"))


def states(report: dict[str, Any]) -> list[str]:
    return [line for line in report["log"] if "state=" in line]


def assert_whole(server: QuestDBServer, prefix: str, report: dict[str, Any]) -> None:
    assert report["left"] == 0
    assert server.await_count(report["made"], f"{prefix}trades") == report["made"]
    assert server.value(f"SELECT count_distinct(trade_id) FROM {prefix}trades") == report["made"]
    assert not [line for line in report["log"] if "quarantined" in line]
    said = states(report)  # a busy server may fail once more when it is back
    assert "state=down" in said[0] and "state=up" in said[-1]


def test_a_hung_questdb_gets_everything_when_it_wakes(questdb_server: QuestDBServer, tmp_path: Path) -> None:
    load = Load(questdb_server, "hung_", tmp_path, patience_ms=1_500)
    await_rows(questdb_server, "hung_")
    questdb_server.hang()
    time.sleep(OUTAGE_S)
    questdb_server.unhang()
    time.sleep(1)
    assert_whole(questdb_server, "hung_", load.finish())


def test_a_suspended_table_is_said_and_drains_once_it_is_resumed(questdb_server: QuestDBServer, tmp_path: Path) -> None:
    load = Load(questdb_server, "suspended_", tmp_path)
    await_rows(questdb_server, "suspended_")
    questdb_server.suspend("suspended_trades")
    time.sleep(OUTAGE_S)
    seen = questdb_server.count("suspended_trades")
    questdb_server.sql("ALTER TABLE suspended_trades RESUME WAL")
    time.sleep(1)
    report = load.finish()
    assert_whole(questdb_server, "suspended_", report)
    assert seen < report["made"]
    assert "table suspended_trades is suspended" in states(report)[0]


def test_what_a_killed_collector_left_is_sent_by_the_next_one(questdb_server: QuestDBServer, tmp_path: Path) -> None:
    """The journal has what the sink lacks; what was sent and not yet noted as such is sent again, harmlessly."""
    load = Load(questdb_server, "restart_", tmp_path)
    await_rows(questdb_server, "restart_")
    questdb_server.hang()
    time.sleep(2)
    load.kill()
    questdb_server.unhang()
    report = Load(questdb_server, "restart_", tmp_path).finish()
    assert report["left"] == 0
    stored = questdb_server.await_count(report["made"] + 1, "restart_trades")
    assert stored > report["made"] + RATE // 2, "the first one's trades are there as well"
    time.sleep(0.5)
    assert questdb_server.value("SELECT count_distinct(trade_id) FROM restart_trades") == questdb_server.count("restart_trades")
