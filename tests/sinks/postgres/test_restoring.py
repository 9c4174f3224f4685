"""A backup fills an empty database, and only that; what was cut off is never taken for whole."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink
from pumpwatch_plugins.sinks.postgres.programs import Programs

from pumpwatch.errors import ConfigError, ServiceUnavailable, StorageError, UsageError
from tests.postgres_server import Database, PostgresServer
from tests.sinks.postgres.dumped import columns, dumped, only, restored
from tests.sinks.stores import CATALOGUE, EVENT, HEALTH, assert_same, listing_at, read_all
from tests.trades import batch_of

DAY_NS = 86_400 * 10**9
BATCH = batch_of(3_000, start_ns=time.time_ns() - 2 * DAY_NS, step_ns=2 * DAY_NS // 3_000)
TABLES = ("trade_history", "candles", "exchange_health", "listing_events", "system_metrics", "schema_version", "stale_minutes")
Files = tuple[dict[str, bytes], dict[str, Mapping[str, int]], Database]
PATHS = [path for path in sys.path if path]


@pytest.fixture(scope="module")
def files(postgres_server: PostgresServer) -> Iterator[Files]:
    """A backup with its rows, and the database that it is of."""
    database = Database(postgres_server, postgres_server.create_database())
    sink = PostgresSink(PostgresOptions(dsn=database.dsn))
    sink.open()
    sink.write(BATCH, CATALOGUE)
    sink.trouble()
    sink.write_health([HEALTH])
    sink.write_listing(listing_at(time.time_ns()), EVENT)
    sink.close()
    yield (*dumped(sink), database)
    postgres_server.sql(f"DROP DATABASE {database.name} WITH (FORCE)")


def test_every_row_is_there_again_and_the_sink_goes_on(files: Files, postgres: Database) -> None:
    content, rows, source = files
    sink = PostgresSink(PostgresOptions(dsn=postgres.dsn))
    found = restored(sink, content)
    assert {name: counted for name, counted in rows.items() if counted} == found
    for table in TABLES:
        assert columns(postgres, table) == columns(source, table), table
    indexes = "SELECT count(*) FROM pg_indexes WHERE schemaname = 'pumpwatch'"
    assert postgres.value(indexes) == source.value(indexes)
    sink.open()
    assert_same(read_all(sink, BATCH), BATCH)
    assert sink.write(BATCH, CATALOGUE).accepted == len(BATCH)
    assert postgres.value("SELECT count(*) FROM pumpwatch.trade_history") == len(BATCH)
    with pytest.raises(UsageError, match="schema pumpwatch already exists"):
        restored(sink, content)
    assert_same(read_all(sink, BATCH), BATCH)
    sink.close()


def test_a_file_that_is_cut_leaves_the_database_empty(files: Files, postgres: Database) -> None:
    content = dict(files[0])
    last = sorted(content)[-2]
    content[last] = content[last][:len(content[last]) // 2]
    sink = PostgresSink(PostgresOptions(dsn=postgres.dsn))
    with pytest.raises(ServiceUnavailable, match="pg_restore: error: could not read from input file") as told:
        restored(sink, content)
    assert told.value.hint == "nothing of the backup is left in the database"
    assert postgres.sql("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'pumpwatch%'") == []


def test_rows_that_are_missing_leave_nothing_in_the_database(files: Files, postgres: Database) -> None:
    postgres.sql("CREATE TABLE mine (a int)")

    def judge(rows: Mapping[str, Mapping[str, int]]) -> None:
        assert sum(rows["tables.dump"].values()) and postgres.value("SELECT count(*) FROM pumpwatch.trade_history") == len(BATCH)
        raise StorageError("table trade_history has 3,000 rows, and 3,001 were backed up", "take another backup")

    with pytest.raises(StorageError, match="take another backup; nothing of the backup is left in the database") as told:
        restored(PostgresSink(PostgresOptions(dsn=postgres.dsn)), files[0], judge)
    assert told.value.__cause__ is not told.value, "who follows the causes would never end"
    assert postgres.sql("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'pumpwatch%'") == []
    assert postgres.value("SELECT count(*) FROM mine") == 0


@pytest.mark.parametrize("is_back", [True, False])
def test_a_lost_connection_leaves_nothing_or_says_what_is_there(files: Files, postgres: Database, is_back: bool) -> None:
    def judge(rows: Mapping[str, Mapping[str, int]]) -> None:
        if not is_back:
            postgres.server.sql(f"ALTER DATABASE {postgres.name} ALLOW_CONNECTIONS false")
        postgres.server.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{postgres.name}'")
        raise StorageError("rows are missing")

    said = "nothing of the backup is left" if is_back else "schema pumpwatch is half restored, and the sink does not open"
    sink = PostgresSink(PostgresOptions(dsn=postgres.dsn))
    with pytest.raises(StorageError, match=said):
        restored(sink, files[0], judge)
    postgres.server.sql(f"ALTER DATABASE {postgres.name} ALLOW_CONNECTIONS true")
    assert postgres.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0, "the later connection was closed too"
    left = {name for name, in postgres.sql("SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'pumpwatch%'")}
    assert left == (set() if is_back else {"pumpwatch", "pumpwatch_restoring"})
    if not is_back:
        with pytest.raises(ConfigError, match="is being restored, or a restore was cut off"):
            sink.open()


KILLED = """
import pickle, sys
from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink
from tests.sinks.postgres.dumped import restored
restored(PostgresSink(PostgresOptions(dsn=sys.argv[1], bin_dir=sys.argv[2])), pickle.load(sys.stdin.buffer))
"""


def test_a_killed_restore_is_refused_by_the_sink_and_made_again(files: Files, postgres: Database, tmp_path: Path) -> None:
    real = Programs(PostgresOptions(dsn=postgres.dsn)).find("pg_restore", 14, "")
    marker = tmp_path / "day"
    slow = only(tmp_path / "slow", "pg_restore", f'case "$*" in *--version*|*section*) exec {real} "$@";; esac\n'
                                                 f'touch {marker}; exec sleep 60')
    child = subprocess.Popen([sys.executable, "-c", KILLED, postgres.dsn, slow], stdin=subprocess.PIPE, start_new_session=True,
                             env=os.environ | {"PYTHONPATH": os.pathsep.join(PATHS)})
    assert child.stdin
    child.stdin.write(pickle.dumps(files[0]))
    child.stdin.close()
    deadline = time.monotonic() + 60
    while not marker.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    sink = PostgresSink(PostgresOptions(dsn=postgres.dsn))
    with pytest.raises(UsageError, match="another restore is running"):
        restored(sink, files[0])
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    with pytest.raises(ConfigError, match="is being restored, or a restore was cut off"):
        sink.open()
    while postgres.sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND database ="
                       " (SELECT oid FROM pg_database WHERE datname = current_database())"):
        time.sleep(0.02)
    restored(sink, files[0])
    assert columns(postgres, "trade_history") == columns(files[2], "trade_history")
    sink.open()
    sink.close()


def test_a_server_that_does_not_fit_is_named(files: Files, postgres: Database, tmp_path: Path) -> None:
    content = files[0]

    def about(**changes: object) -> dict[str, bytes]:
        return {**content, "about.json": msgspec.json.encode({**msgspec.json.decode(content["about.json"]), **changes})}

    def refused(parts: dict[str, bytes], kind: type[Exception], said: str, **options: str) -> None:
        with pytest.raises(kind, match=said):
            restored(PostgresSink(PostgresOptions(dsn=postgres.dsn, **options)), parts)
        assert postgres.sql("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'pumpwatch%'") == []

    refused(about(major=99, server="99.1"), ConfigError, r"older than that of the backup \(99.1\)")
    refused(about(engine="timescale", extension="2.23.0"), ConfigError, r"needs TimescaleDB 2\.23\.0, which the server does not")
    refused(content, ConfigError, "is of schema pumpwatch, and sinks.postgres.schema is other", schema="other")
    refused(content, ConfigError, "pg_restore is not in", bin_dir=str(tmp_path))
    refused({**content, "about.json": b"{}"}, UsageError, "about.json is not part of a PostgreSQL backup")
