"""The schema of the PostgreSQL sink: made once, step by step, on tables that are filled; what does not fit is told."""

from __future__ import annotations

import re

import pytest
from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink, schema
from pumpwatch_plugins.sinks.postgres.server import Server

from pumpwatch.errors import ConfigError
from tests.postgres_server import Database
from tests.sinks.stores import CATALOGUE
from tests.trades import batch_of


def test_each_step_keeps_the_trades_of_the_one_before(postgres: Database) -> None:
    options = PostgresOptions(dsn=postgres.dsn)
    state = schema.ensure(Server(options), options, upto=1)
    assert (state.version, state.engine, state.extension) == (1, "native", "")
    postgres.sql("INSERT INTO pumpwatch.trade_history SELECT now() - interval '2 hours' + i * interval '1 second', now(), 2, 3,"
                 " NULL, 0, 0, NULL, 'buy', 'okx', 'spot', 'ZKP-USDT', i::text FROM generate_series(1, 300) i")
    sink = PostgresSink(options)
    sink.open()
    assert postgres.value("SELECT max(version) FROM pumpwatch.schema_version") == schema.steps()[-1].version
    assert postgres.value("SELECT count(*) FROM pumpwatch.trade_history") == 300
    sink.trouble()
    assert postgres.sql("SELECT sum(trades), sum(volume), max(high) FROM pumpwatch.candles_1h") == [(300, 900.0, 2.0)]
    sink.close()


def test_a_second_opening_changes_nothing(sink: PostgresSink, postgres: Database) -> None:
    before = postgres.sql("SELECT version, applied_at FROM pumpwatch.schema_version")
    sink.open()
    assert postgres.sql("SELECT version, applied_at FROM pumpwatch.schema_version") == before
    assert re.search(r"version 1\d.*without TimescaleDB.*schema pumpwatch version \d+$", sink.server())


def test_a_newer_schema_refuses_the_start(sink: PostgresSink, postgres: Database) -> None:
    postgres.sql("INSERT INTO pumpwatch.schema_version (version, name, engine) VALUES (99, 'later', 'native')")
    with pytest.raises(ConfigError, match="has version 99, this PumpWatch knows") as raised:
        sink.open()
    assert raised.value.exit_code == 78


def test_a_table_in_the_way_is_named_and_left_as_it_is(postgres: Database) -> None:
    postgres.sql("CREATE SCHEMA pumpwatch")
    postgres.sql("CREATE TABLE pumpwatch.trade_history AS SELECT 1 mine")
    sink = PostgresSink(PostgresOptions(dsn=postgres.dsn))
    with pytest.raises(ConfigError, match='a table is in the way: relation "trade_history" already exists'):
        sink.open()
    assert postgres.sql("SELECT * FROM pumpwatch.trade_history") == [(1,)]
    assert postgres.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'pumpwatch'") == [(1,)], "not a part of a step is left"
    other = PostgresSink(PostgresOptions(dsn=postgres.dsn, schema="apart"))
    other.open()
    assert other.write(batch_of(5), CATALOGUE).accepted == 5
    other.close()


def test_columns_that_do_not_fit_are_named_with_what_to_set(sink: PostgresSink, postgres: Database) -> None:
    wrong = PostgresSink(PostgresOptions(dsn=postgres.dsn, numbers="numeric"))
    with pytest.raises(ConfigError, match=r"price is double precision.*set sinks.postgres.numbers to double"):
        wrong.open()
    postgres.sql("ALTER TABLE pumpwatch.trade_history DROP COLUMN flags CASCADE")
    with pytest.raises(ConfigError, match="column flags is missing"):
        sink.open()


def test_every_step_has_a_number_of_its_own_and_a_file_for_each_engine() -> None:
    found = schema.steps()
    assert [step.version for step in found] == list(range(1, len(found) + 1))
    for step in found:
        for engine in (schema.NATIVE, schema.TIMESCALE):
            assert step.files.keys() >= {engine} or "" in step.files
            for path in step.files.values():
                filled = schema.filled(path.read_text("utf-8"), PostgresOptions(dsn="host=x"), engine)
                assert "{" not in re.sub(r"'\{\}'", "", filled), path
