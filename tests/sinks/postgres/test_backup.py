"""A schema is dumped as of one moment by the real pg_dump, beside a sink that goes on writing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink

from pumpwatch.errors import ConfigError, ServiceUnavailable
from pumpwatch.sink_abilities import BackedUpSink
from tests.postgres_server import Database, PgBouncer
from tests.sinks.postgres.dumped import dumped, only
from tests.sinks.stores import CATALOGUE
from tests.trades import batch_of

DAY_NS = 86_400 * 10**9


def test_the_parts_are_of_one_moment_whatever_is_written_meanwhile(sink: PostgresSink, postgres: Database) -> None:
    assert isinstance(sink, BackedUpSink)
    now = time.time_ns()
    for age in (2, 1, 0):
        sink.write(batch_of(200, start_ns=now - age * DAY_NS, step_ns=1000), CATALOGUE)
    with sink.backup() as held:
        sink.write(batch_of(50, first_id=10**6, start_ns=now - 2 * DAY_NS, step_ns=1000), CATALOGUE)
        rows = {part.name: held.rows(part) for part in held.parts}
        with held.open(held.parts[-1]) as source:
            assert source.read(5) == b"PGDMP"
    days = {name: counted for name, counted in rows.items() if name.startswith("days/")}
    assert sum(sum(counted.values()) for counted in days.values()) == 600
    assert {name for name, counted in days.items() if sum(counted.values()) == 200} == {
        f"days/trade_history_{time.strftime('%Y%m%d', time.gmtime(now / 1e9 - age * 86_400))}.dump" for age in (0, 1, 2)}
    assert rows["tables.dump"]["schema_version"] == 2


def test_days_stay_while_a_backup_reads_and_a_drop_holds_up_no_writer(postgres: Database) -> None:
    sink = PostgresSink(PostgresOptions(dsn=postgres.dsn, retention_days=5, statement_timeout_ms=60_000))
    sink.open()
    now = time.time_ns()
    for age in (3, 1):
        sink.write(batch_of(100, start_ns=now - age * DAY_NS, step_ns=1000), CATALOGUE)
    oldest = sink.days()[:1]
    with sink.backup() as held:
        with pytest.raises(ServiceUnavailable, match="lock timeout"):
            sink.drop_days(oldest)
        sink.keep_days(1)
        assert sink.trouble() == "" and sink.write(batch_of(50, first_id=10**6, start_ns=now), CATALOGUE).accepted == 50
        assert sum(held.rows(part).get(oldest[0].name, 0) for part in held.parts) == 100
    sink.keep_days(1)
    assert sink.trouble() == "" and oldest[0].name not in [day.name for day in sink.days()]
    sink.close()


def test_days_that_are_over_have_a_key_which_a_late_trade_changes(sink: PostgresSink) -> None:
    now = time.time_ns()
    for age in (1, 0):
        sink.write(batch_of(200, start_ns=now - age * DAY_NS, step_ns=1000), CATALOGUE)

    def keys() -> list[str]:
        with sink.backup() as held:
            return [part.key for part in held.parts if part.key]

    sink.close()
    first = keys()
    assert len(first) == 1
    sink.open()
    sink.write(batch_of(1, first_id=10**6, start_ns=now - DAY_NS), CATALOGUE)
    sink.close()
    deadline = time.monotonic() + 30
    while keys() == first and time.monotonic() < deadline:
        time.sleep(0.05)
    assert keys() != first


def test_what_prevents_a_dump_is_said_in_one_line(sink: PostgresSink, postgres: Database, tmp_path: Path) -> None:
    def backup(**changes: str) -> None:
        dumped(PostgresSink(PostgresOptions(dsn=postgres.dsn, **changes)))

    with pytest.raises(ConfigError, match="pg_dump is not in /nonexistent"):
        backup(bin_dir="/nonexistent")
    with pytest.raises(ConfigError, match=r"has version 9, older than the server .* \(\d+\)") as raised:
        backup(bin_dir=only(tmp_path / "old", "pg_dump", "echo 'pg_dump (PostgreSQL) 9.6.24'"))
    assert "postgresql-client" in raised.value.hint
    with pytest.raises(ConfigError, match="schema nowhere does not exist, nothing to back up"):
        backup(schema="nowhere")
    failing = 'case "$1" in --version) echo "pg_dump (PostgreSQL) 99.1";; *) echo "pg_dump: error: it broke" >&2; exit 1;; esac'
    with pytest.raises(ServiceUnavailable, match="pg_dump: error: it broke"):
        backup(bin_dir=only(tmp_path / "failing", "pg_dump", failing))


def test_pg_dump_goes_to_the_server_where_the_sink_writes_through_pgbouncer(
        sink: PostgresSink, postgres: Database, pgbouncer: PgBouncer) -> None:
    sink.write(batch_of(10), CATALOGUE)
    behind = PostgresSink(PostgresOptions(dsn=pgbouncer.dsn(postgres.name), backup_dsn=postgres.dsn))
    assert sum(dumped(behind)[1]["tables.dump"].values()) >= 3
    behind.close()
