"""Days of the table of trades: their sizes, how they go, what becomes of the candles, and a checked copy as Parquet."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from pumpwatch_plugins.sinks.questdb import QuestDBOptions, QuestDBSink

from pumpwatch.clock import Clock
from pumpwatch.config_disk import DiskConfig
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.model import TradeBatch
from pumpwatch.ops.cold_file import ColdFolder
from pumpwatch.ops.cold_tier import ColdTier
from pumpwatch.ops.disk_watch import Level, disk_use
from pumpwatch.sink_abilities import DroppingSink, StoredDay
from tests.questdb_server import QuestDBServer
from tests.sinks.stores import CATALOGUE
from tests.trades import batch_of

DAY_NS = 86_400 * 10**9
ROWS = 300  # a day


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def store_days(server: QuestDBServer, sink: QuestDBSink, table: str, days: int) -> None:
    """Store trades of the last days, today included, and wait until they are visible."""
    today_ns = time.time_ns() // DAY_NS * DAY_NS
    sink.write(TradeBatch.concat([batch_of(ROWS, start_ns=today_ns - age * DAY_NS, step_ns=1000)
                                  for age in range(days - 1, -1, -1)]), CATALOGUE)
    assert server.await_count(days * ROWS, table) == days * ROWS


@pytest.fixture
def with_views(questdb_server: QuestDBServer, prefix: str) -> QuestDBSink:
    made = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix))
    made.open()
    return made


def test_days_are_listed_with_their_sizes_but_not_the_one_that_is_written(
        questdb_server: QuestDBServer, sink: QuestDBSink, prefix: str) -> None:
    assert isinstance(sink, DroppingSink) and list(sink.days()) == []
    store_days(questdb_server, sink, f"{prefix}trades", 4)
    days = sink.days()
    assert [day.trades for day in days] == [ROWS] * 3 and all(day.size_bytes > 0 for day in days)
    today_ns = time.time_ns() // DAY_NS * DAY_NS
    assert [(day.from_ns, day.to_ns) for day in days] == [
        (today_ns - age * DAY_NS, today_ns - (age - 1) * DAY_NS) for age in (3, 2, 1)]


def test_in_an_emergency_old_days_go_at_once_where_no_view_depends_on_them(
        questdb_server: QuestDBServer, sink: QuestDBSink, prefix: str) -> None:
    store_days(questdb_server, sink, f"{prefix}trades", 29)
    tier = ColdTier("questdb", sink, DiskConfig(), Clock())
    assert tier.run(Level.CLEAN_UP) == []
    gone = tier.run(Level.EMERGENCY)
    assert len(gone) == 3
    until(lambda: questdb_server.count(f"{prefix}trades") == 26 * ROWS)
    assert tier.run(Level.EMERGENCY) == []


def test_days_below_candles_go_with_the_next_write_and_the_candles_stay(
        questdb_server: QuestDBServer, with_views: QuestDBSink, prefix: str) -> None:
    store_days(questdb_server, with_views, f"{prefix}trades", 29)
    candles = f"{prefix}candles_1m"
    questdb_server.sql(f"REFRESH MATERIALIZED VIEW {candles} FULL")
    until(lambda: questdb_server.count(candles) > 0)
    until(lambda: int(questdb_server.value(f"SELECT sum(trades) FROM {candles}") or 0) == 29 * ROWS)
    tier = ColdTier("questdb", with_views, DiskConfig(), Clock())
    assert len(tier.run(Level.EMERGENCY)) == 3
    with_views.write(batch_of(1, start_ns=time.time_ns()), CATALOGUE)
    until(lambda: questdb_server.count(f"{prefix}trades") == 26 * ROWS + 1)
    assert questdb_server.value(f"SELECT view_status FROM materialized_views() WHERE view_name = '{candles}'") == "valid"
    assert int(questdb_server.value(f"SELECT sum(trades) FROM {candles}")) >= 29 * ROWS
    assert tier.run(Level.OK) == []
    until(lambda: questdb_server.sql(
        f"SELECT ttlValue, ttlUnit FROM tables() WHERE table_name = '{prefix}trades'") == [[30, "DAY"]])
    with_views.close()


def test_a_day_is_copied_as_parquet_and_checked_against_the_server(
        questdb_server: QuestDBServer, sink: QuestDBSink, prefix: str, tmp_path: Path) -> None:
    store_days(questdb_server, sink, f"{prefix}trades", 29)
    tier = ColdTier("questdb", sink, DiskConfig(), Clock(), ColdFolder(tmp_path))
    gone = tier.run(Level.EMERGENCY)
    assert len(gone) == 3
    for day in gone:
        table = pyarrow.parquet.read_table(tmp_path / "questdb" / f"{day.name}.parquet")
        batch = batch_of(ROWS, start_ns=day.from_ns, step_ns=1000)
        assert sorted(table["trade_id"].to_pylist()) == sorted(batch.id_texts())
        np.testing.assert_array_equal(np.sort(table["price"].to_numpy()), np.sort(batch.price))
    assert len(list((tmp_path / "questdb").glob("*.parquet"))) == 5, "two days ahead are copied as well"


def test_a_server_that_exports_nothing_is_named(questdb_server: QuestDBServer, prefix: str, tmp_path: Path) -> None:
    sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix))
    with (tmp_path / "x").open("wb") as file, pytest.raises(ServiceUnavailable, match="does not export"):
        sink.write_parquet(StoredDay("2026-10-01", 0, 1, 1, 1), file)


def test_a_server_on_this_machine_names_its_folder(questdb_server: QuestDBServer, sink: QuestDBSink, tmp_path: Path) -> None:
    assert Path(sink.files_in()) == questdb_server.folder / "db" and disk_use(Path(sink.files_in())).total > 0
    assert QuestDBSink(QuestDBOptions(addr="questdb.example:9000")).files_in() == ""
    assert QuestDBSink(QuestDBOptions(addr="questdb.example:9000", data_dir=str(tmp_path))).files_in() == str(tmp_path)
