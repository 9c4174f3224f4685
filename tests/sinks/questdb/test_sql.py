"""Tables and views on a real server: created, checked, extended, and repaired as the messages say."""

from __future__ import annotations

import time

import numpy as np
import pytest
from pumpwatch_plugins.sinks.questdb import QuestDBOptions, QuestDBSink

from pumpwatch.errors import ConfigError
from tests.questdb_server import QuestDBServer
from tests.sinks.stores import CATALOGUE, EVENT, HEALTH, listing_at
from tests.trades import batch_of


def await_ttl(server: QuestDBServer, prefix: str, expected: list[object]) -> None:
    """Wait until the TTL is this: changes go through the table's WAL."""
    deadline = time.monotonic() + 30
    statement = f"SELECT ttlValue, ttlUnit FROM tables() WHERE table_name = '{prefix}trades'"
    while (found := server.sql(statement)[0]) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def await_valid_views(server: QuestDBServer, prefix: str) -> None:
    """Wait until every view is there and refreshed."""
    deadline = time.monotonic() + 120
    statement = f"SELECT view_status FROM materialized_views() WHERE view_name LIKE '{prefix}%'"
    while (states := {row[0] for row in server.sql(statement)}) != {"valid"}:
        assert time.monotonic() < deadline, states
        time.sleep(0.1)


def test_tables_and_views_are_made_and_opening_again_changes_nothing(
        questdb_server: QuestDBServer, prefix: str) -> None:
    sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix, ttl_days=7))
    for _ in range(2):
        sink.open()
    sink.close()
    made = {row[0] for row in questdb_server.sql("SELECT table_name FROM tables()") if row[0].startswith(prefix)}
    assert made == {prefix + name for name in
                    ("trades", "exchange_health", "listing_events", "candles_1m", "candles_5m")}
    await_ttl(questdb_server, prefix, [1, "WEEK"])
    await_valid_views(questdb_server, prefix)


def test_candles_add_up(questdb_server: QuestDBServer, prefix: str) -> None:
    sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix))
    sink.open()
    start = time.time_ns() // 300_000_000_000 * 300_000_000_000 - 600_000_000_000
    batch = batch_of(6_000, start_ns=start, step_ns=50_000_000)  # five minutes
    sink.write(batch, CATALOGUE)
    sink.write(batch_of(1, first_id=7_000, start_ns=start + 900_000_000_000), CATALOGUE)
    questdb_server.await_count(6_001, f"{prefix}trades")
    for view in ("candles_1m", "candles_5m"):
        deadline = time.monotonic() + 60
        questdb_server.sql(f"REFRESH MATERIALIZED VIEW {prefix}{view} INCREMENTAL")
        where = f"timestamp < {start + 300_000_000_000}"
        while questdb_server.value(f"SELECT sum(trades) FROM {prefix}{view} WHERE {where}") != 6_000:
            assert time.monotonic() < deadline, view
            time.sleep(0.1)
        volume = questdb_server.value(f"SELECT sum(volume) FROM {prefix}{view} WHERE {where}")
        assert volume == pytest.approx(float(batch.quantity.sum()))
    rows = np.flatnonzero(batch.instrument == 0)
    opened, high, low, closed = questdb_server.sql(
        f"SELECT open, high, low, close FROM {prefix}candles_5m WHERE {where} AND symbol = 'C0USDT'"
        " AND market_type = 'spot'")[0]
    prices = batch.price[rows]
    assert (opened, high, low, closed) == (prices[0], prices.max(), prices.min(), prices[-1])
    sink.close()


def open_when_applied(sink: QuestDBSink) -> None:
    """Open once an ALTER has gone through the table's WAL."""
    deadline = time.monotonic() + 30
    while True:
        try:
            sink.open()
            return
        except ConfigError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def expect_config_error(sink: QuestDBSink, message: str) -> str:
    """Return the hint of the error that opening raises once an ALTER has gone through the WAL."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            sink.open()
        except ConfigError as error:
            if message in error.message:
                return error.hint
        time.sleep(0.05)
    raise AssertionError(f"no error says {message!r}")


def test_a_column_of_another_type_is_a_config_error_that_says_how_to_repair_it(
        questdb_server: QuestDBServer, prefix: str) -> None:
    sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix, candles=False))
    sink.open()
    table = f"{prefix}trades"
    questdb_server.sql(f"DROP TABLE {table}")
    questdb_server.sql(sink._tables[0].ddl().replace("quantity DOUBLE", "quantity FLOAT"))
    with pytest.raises(ConfigError) as error:
        sink.open()
    assert error.value.message == f"QuestDB table {table}: column quantity is FLOAT, expected DOUBLE"
    assert f"ALTER TABLE {table} ALTER COLUMN quantity TYPE DOUBLE" in error.value.hint
    questdb_server.sql(f"ALTER TABLE {table} ALTER COLUMN quantity TYPE DOUBLE")
    open_when_applied(sink)
    questdb_server.sql(f"ALTER TABLE {table} DROP COLUMN flags")
    expect_config_error(sink, "column flags is missing")
    questdb_server.sql(f"ALTER TABLE {table} ADD COLUMN flags INT")
    open_when_applied(sink)
    questdb_server.sql(f"ALTER TABLE {table} DEDUP DISABLE")
    mend = expect_config_error(sink, "deduplicates on nothing")
    questdb_server.sql(mend.split(", or rename")[0])
    open_when_applied(sink)
    sink.close()


def test_a_ttl_changed_in_the_config_is_set(questdb_server: QuestDBServer, prefix: str) -> None:
    for days, found in ((30, [30, "DAY"]), (3, [3, "DAY"]), (0, [0, "HOUR"])):
        sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix, ttl_days=days, candles=False))
        sink.open()
        sink.close()
        await_ttl(questdb_server, prefix, found)


def test_tables_of_an_earlier_version_get_the_new_columns_and_keep_their_rows(
        questdb_server: QuestDBServer, prefix: str) -> None:
    """The statements are those of the first version."""
    questdb_server.sql(
        f"CREATE TABLE {prefix}exchange_health (timestamp TIMESTAMP_NS, exchange SYMBOL, market_type SYMBOL, connections INT,"
        " trades LONG, lag_ms DOUBLE, gaps LONG) TIMESTAMP(timestamp) PARTITION BY DAY TTL 30 DAYS WAL"
        " DEDUP UPSERT KEYS(timestamp, exchange, market_type)")
    questdb_server.sql(
        f"CREATE TABLE {prefix}listing_events (timestamp TIMESTAMP_NS, source SYMBOL, notice_id VARCHAR, symbol SYMBOL,"
        " title VARCHAR, detected_at TIMESTAMP_NS, triggered_at TIMESTAMP_NS, needs_body BOOLEAN, archive VARCHAR,"
        " trades LONG) TIMESTAMP(timestamp) PARTITION BY YEAR WAL DEDUP UPSERT KEYS(timestamp, source, notice_id, symbol)")
    before = time.time_ns() - 3_600_000_000_000
    questdb_server.sql(f"INSERT INTO {prefix}exchange_health VALUES ({before}, 'okx', 'spot', 1, 2, 3.0, 4)")
    sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix, candles=False))
    sink.open()
    sink.write_health([HEALTH])
    sink.write_listing(listing_at(time.time_ns()), EVENT)
    assert questdb_server.await_count(2, f"{prefix}exchange_health") == 2
    assert questdb_server.await_count(1, f"{prefix}listing_events") == 1
    assert questdb_server.sql(f"SELECT exchange, trades, status FROM {prefix}exchange_health") == [
        ["okx", 2, None], ["binance", 7, "degraded"]]
    sink.close()


def test_candles_are_rebuilt_after_their_table_was_dropped(questdb_server: QuestDBServer, prefix: str) -> None:
    sink = QuestDBSink(QuestDBOptions(addr=questdb_server.addr, table_prefix=prefix))
    sink.open()
    questdb_server.sql(f"DROP TABLE {prefix}trades")
    sink.open()
    await_valid_views(questdb_server, prefix)
    sink.close()
