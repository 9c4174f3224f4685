"""The demo's QuestDB: what is wrong with it is said at once, and nothing is left behind."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.conftest import Cli
from tests.questdb_server import QuestDBServer


def test_tables_that_do_not_fit_are_told_before_anything_runs(cli: Cli, tmp_path: Path, questdb_server: QuestDBServer) -> None:
    questdb_server.sql("CREATE TABLE pumpwatch_demo_trades (timestamp TIMESTAMP_NS, exchange LONG) TIMESTAMP(timestamp) "
                       "PARTITION BY HOUR WAL")
    done = cli("demo", "--questdb", questdb_server.addr, "--data", tmp_path / "demo")
    assert done.returncode == 78
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert "QuestDB table pumpwatch_demo_trades: column exchange is LONG, expected SYMBOL" in done.stderr
    assert not (tmp_path / "demo").exists()


def test_a_server_that_is_not_there_is_told_before_anything_runs(cli: Cli, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        closed = f"127.0.0.1:{probe.getsockname()[1]}"
    done = cli("demo", "--questdb", closed, "--data", tmp_path / "demo")
    assert done.returncode == 69 and f"QuestDB at {closed} does not answer" in done.stderr
    assert not (tmp_path / "demo").exists()
