"""Trades that a QuestDB acknowledged and lost are sent again: after a power cut, a dropped or emptied table, an old copy."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.questdb_server import QuestDBServer
from tests.store.under_load import RATE, Load, await_rows

MORE_ROWS = RATE


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuestDBServer]:
    made = QuestDBServer(tmp_path_factory.mktemp("questdb"))
    made.start()
    yield made
    made.end()


@pytest.fixture(scope="module")
def syncing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuestDBServer]:
    """A server that syncs each commit, so that nothing it acknowledged is taken to be at risk."""
    made = QuestDBServer(tmp_path_factory.mktemp("syncing"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QDB_CAIRO_COMMIT_MODE", "sync")
        made.start()
        yield made
    made.end()


def keep_copy(server: QuestDBServer, *prefixes: str) -> None:
    """Keep the server's files as they are once something is stored, and return when it has got more.

    They are copied while the server is suspended, which is what a power cut at that moment would leave. What it acknowledged
    before may become visible only later, and that is not more.
    """
    for prefix in prefixes:
        await_rows(server, prefix)
    server.hang()
    shutil.copytree(server.folder / "db", server.folder / "copy")
    server.unhang()
    for prefix in prefixes:
        acknowledged = server.value(f"SELECT sequencerTxn FROM wal_tables() WHERE name = '{prefix}trades'")
        await_true(lambda table=f"{prefix}trades", upto=acknowledged: server.value(
            f"SELECT writerTxn FROM wal_tables() WHERE name = '{table}'") >= upto)
        had = server.count(f"{prefix}trades")
        await_true(lambda table=f"{prefix}trades", rows=had + MORE_ROWS: server.count(table) >= rows)


def put_copy_back(server: QuestDBServer, *prefixes: str) -> Callable[[], bool]:
    """End the server and put back what it had at the copy: a power cut took the rest. Returns a look for what it had."""
    last_ns = {prefix: server.value(f"SELECT max(timestamp)::long FROM {prefix}trades") for prefix in prefixes}

    def counts() -> list[int]:
        return [server.count(f"{prefix}trades", f"timestamp <= {last_ns[prefix]}") for prefix in prefixes]

    had = counts()
    server.kill()
    shutil.rmtree(server.folder / "db")
    (server.folder / "copy").rename(server.folder / "db")
    server.start()
    return lambda: all(now >= before for now, before in zip(counts(), had, strict=True))


def await_true(look: Callable[[], bool], within_s: float = 180.0) -> None:
    deadline = time.monotonic() + within_s
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def assert_all_there(server: QuestDBServer, prefix: str, rows: int) -> None:
    assert server.await_count(rows, f"{prefix}trades") == rows
    assert server.value(f"SELECT count_distinct(trade_id) FROM {prefix}trades") == rows


def said(report: dict[str, Any], words: str) -> list[str]:
    return [line for line in report["log"] if words in line]


def test_what_a_power_cut_took_is_sent_again_by_a_collector_that_lives_on_and_by_the_next_one(
        server: QuestDBServer, tmp_path: Path) -> None:
    living, ended = Load(server, "cut_", tmp_path / "living"), Load(server, "again_", tmp_path / "ended")
    keep_copy(server, "cut_", "again_")
    made = ended.finish()["made"]
    assert server.await_count(made, "again_trades") == made
    back = put_copy_back(server, "cut_", "again_")
    assert server.count("again_trades") < made
    following = Load(server, "again_", tmp_path / "ended")
    await_true(back)
    report = living.finish()
    assert report["left"] == 0
    assert_all_there(server, "cut_", report["made"])
    assert said(report, "its server was restarted")
    report = following.finish()
    assert said(report, "a power cut of its host could have taken them")
    assert_all_there(server, "again_", made + report["made"])


@pytest.mark.parametrize("statement", ["DROP TABLE {}trades", "TRUNCATE TABLE {}trades"])
def test_a_dropped_or_emptied_table_is_created_again_and_refilled(
        server: QuestDBServer, tmp_path: Path, statement: str) -> None:
    prefix = statement[:4].lower() + "_"
    load = Load(server, prefix, tmp_path)
    await_rows(server, prefix)
    last_ns = server.value(f"SELECT max(timestamp)::long FROM {prefix}trades")
    had = server.count(f"{prefix}trades", f"timestamp <= {last_ns}")
    server.sql(statement.format(prefix))
    await_true(lambda: bool(server.value(f"SELECT count() FROM tables() WHERE table_name = '{prefix}trades'"))
               and server.count(f"{prefix}trades", f"timestamp <= {last_ns}") >= had)
    report = load.finish()
    assert report["left"] == 0
    assert_all_there(server, prefix, report["made"])
    assert said(report, "it is empty now") or said(report, "rows are missing")
    assert any("refilling" in state for state in report["states"])


def test_rows_that_are_gone_without_a_sign_are_found_by_counting(syncing: QuestDBServer, tmp_path: Path) -> None:
    load = Load(syncing, "count_", tmp_path)
    keep_copy(syncing, "count_")
    await_true(put_copy_back(syncing, "count_"))
    report = load.finish()
    assert len(said(report, "rows are missing")) == 1, "they are found and sent once, and doubles are not missed"
    assert_all_there(syncing, "count_", report["made"])
    assert any("refilling" in state for state in report["states"])
