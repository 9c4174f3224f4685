"""The sink on a real TimescaleDB: hypertable, policies, continuous aggregates, compression. It writes without COPY there."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest
from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink, chunks, schema
from pumpwatch_plugins.sinks.postgres.programs import Programs
from pumpwatch_plugins.sinks.postgres.restoring import About, _Restoring
from pumpwatch_plugins.sinks.postgres.server import Server

from pumpwatch.errors import ConfigError, UsageError
from pumpwatch.model import TradeBatch
from tests.sinks.postgres.dumped import dumped
from tests.sinks.stores import CATALOGUE, assert_same, names
from tests.timescale_server import TimescaleServer
from tests.trades import batch_of

DAY_NS = 86_400 * 10**9
DROPPED = ("SELECT config ->> 'drop_after' FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'"
           " AND hypertable_schema = '{}'")
AGGREGATES = ("candles", "candles_5m", "candles_1h", "candles_1d", "daily_trading_stats")


def options_of(timescale: TimescaleServer, **changes: object) -> PostgresOptions:
    return PostgresOptions(dsn=timescale.dsn, statement_timeout_ms=60_000, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def batch() -> TradeBatch:
    """Trades of three days that are whole, the last of them yesterday."""
    start = (time.time_ns() // DAY_NS - 3) * DAY_NS
    return batch_of(900, start_ns=start, step_ns=3 * DAY_NS // 900)


@pytest.fixture(scope="module")
def filled(timescale: TimescaleServer, batch: TradeBatch) -> Iterator[PostgresSink]:
    """A sink whose first step was filled before the second was taken."""
    options = options_of(timescale)
    server = Server(options)
    state = schema.ensure(server, options, upto=1)
    assert (state.engine, state.extension[:2]) == ("timescale", "2.")
    server.close_idle()
    sink = PostgresSink(options)
    sink.open()
    assert sink.write(batch, CATALOGUE).accepted == 900
    sink.close()
    yield sink
    sink.close()


def test_trades_are_chunks_of_a_day_and_stored_once(filled: PostgresSink, timescale: TimescaleServer, batch: TradeBatch) -> None:
    filled.open()
    assert "TimescaleDB 2." in filled.server()
    assert filled.write(batch.take(slice(0, 300)), CATALOGUE).accepted == 300
    assert_same(filled.read(names(), 0, 2**62, CATALOGUE), batch)
    filled.close()
    assert timescale.sql("SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_schema = 'pumpwatch'"
                         " AND hypertable_name = 'trade_history'") == [(3,)]


def test_policies_are_those_that_the_documents_name(filled: PostgresSink, timescale: TimescaleServer) -> None:
    rows = timescale.sql("SELECT hypertable_name::text, proc_name::text, schedule_interval::text, config ->> 'start_offset',"
                         " config ->> 'end_offset', coalesce(config ->> 'drop_after', config ->> 'compress_after')"
                         " FROM timescaledb_information.jobs WHERE hypertable_schema = 'pumpwatch'")
    assert {(name, what.removeprefix("policy_"), *offsets) for name, what, _, *offsets in rows} == {
        ("trade_history", "retention", None, None, "90 days"), ("trade_history", "compression", None, None, "7 days"),
        ("candles", "refresh_continuous_aggregate", "3 days", "00:01:00", None),
        ("candles_5m", "refresh_continuous_aggregate", "01:00:00", "00:01:00", None),
        ("candles_1h", "refresh_continuous_aggregate", "03:00:00", "01:00:00", None),
        ("candles_1d", "refresh_continuous_aggregate", "3 days", "1 day", None),
        ("daily_trading_stats", "refresh_continuous_aggregate", "3 days", "1 day", None)}
    assert {name: every for name, what, every, *_ in rows if "refresh" in what} == {
        "candles": "00:01:00", "candles_5m": "00:01:00", "candles_1h": "01:00:00", "candles_1d": "1 day",
        "daily_trading_stats": "1 day"}


def test_a_refresh_window_of_two_days_is_refused_by_the_extension(filled: PostgresSink, timescale: TimescaleServer) -> None:
    timescale.sql("SELECT remove_continuous_aggregate_policy('pumpwatch.candles_1d')")
    policy = ("SELECT add_continuous_aggregate_policy('pumpwatch.candles_1d', start_offset => interval '{} days',"
              " end_offset => interval '1 day', schedule_interval => interval '1 day')")
    with pytest.raises(psycopg.Error, match="refresh window too small"):
        timescale.sql(policy.format(2))
    timescale.sql(policy.format(3))


def test_aggregates_hold_every_trade_before_and_after_a_refresh(filled: PostgresSink, timescale: TimescaleServer,
                                                                batch: TradeBatch) -> None:
    def sums(name: str) -> tuple[object, ...]:
        return timescale.sql(f"SELECT sum(trades)::int, max(high), min(low) FROM pumpwatch.{name}")[0]

    expected = (900, batch.price.max(), batch.price.min())
    assert [sums(name) for name in AGGREGATES] == [expected] * 5, "in real time"
    for name in AGGREGATES:
        timescale.sql(f"CALL refresh_continuous_aggregate('pumpwatch.{name}', NULL, NULL)")
        timescale.sql(f"ALTER MATERIALIZED VIEW pumpwatch.{name} SET (timescaledb.materialized_only = true)")
    assert [sums(name) for name in AGGREGATES] == [expected] * 5, "materialised"
    first = batch.take((batch.instrument == batch.instrument[0]) & (batch.timestamp < batch.timestamp[0] + DAY_NS))
    exchange, market_type, symbol = CATALOGUE.names([int(batch.instrument[0])])[0]
    assert timescale.sql(f"SELECT open, close, trades::int FROM pumpwatch.daily_trading_stats WHERE symbol = '{symbol}'"
                         f" AND exchange = '{exchange}' AND market_type = '{market_type}' ORDER BY time LIMIT 1") == [
        (first.price[0], first.price[-1], len(first))]


def test_a_compressed_day_is_read_and_takes_a_trade_again_without_doubling_it(
        filled: PostgresSink, timescale: TimescaleServer, batch: TradeBatch) -> None:
    chunk, = timescale.sql("SELECT compress_chunk(c)::text FROM show_chunks('pumpwatch.trade_history') c ORDER BY 1 LIMIT 1")[0]
    filled.open()
    assert filled.write(batch.take(slice(0, 20)), CATALOGUE).accepted == 20
    assert_same(filled.read(names(), 0, 2**62, CATALOGUE), batch)
    filled.close()
    assert timescale.sql("SELECT is_compressed FROM timescaledb_information.chunks WHERE chunk_schema || '.' || chunk_name ="
                         f" '{chunk}'") == [(True,)]
    segmented = timescale.sql("SELECT attname::text FROM timescaledb_information.compression_settings"
                              " WHERE segmentby_column_index IS NOT NULL AND hypertable_name = 'trade_history'")
    assert segmented == [("symbol",)]


def test_the_retention_of_the_options_replaces_the_policy(timescale: TimescaleServer) -> None:
    for days, expected in ((30, [("30 days",)]), (60, [("60 days",)]), (60, [("60 days",)]), (0, [])):
        sink = PostgresSink(options_of(timescale, schema="aged", retention_days=days))
        sink.open()
        sink.close()
        assert timescale.sql(DROPPED.format("aged")) == expected


def test_the_size_counts_compressed_chunks_and_days_are_counted_and_dropped(
        filled: PostgresSink, timescale: TimescaleServer, batch: TradeBatch) -> None:
    days = filled.days()
    assert [day.trades for day in days] == [300] * 3 and all(day.size_bytes > 0 for day in days)
    facts = filled.facts()
    filled.close()
    assert facts.parts == 3 and facts.size_bytes and facts.size_bytes >= sum(day.size_bytes for day in days)
    assert facts.compression_ratio
    filled.keep_days(30)
    filled.close()
    assert timescale.sql(DROPPED.format("pumpwatch")) == [("30 days",)]
    filled.keep_days(0)
    filled.close()
    assert timescale.sql(DROPPED.format("pumpwatch")) == [("90 days",)]
    filled.drop_days(days[:1])
    assert_same(filled.read(names(), 0, 2**62, CATALOGUE), batch.take(slice(300, 900)))
    assert [day.name for day in filled.days()] == [day.name for day in days[1:]]
    filled.close()


def test_before_it_is_opened_nothing_is_sized_and_it_is_not_down(timescale: TimescaleServer) -> None:
    fresh = PostgresSink(options_of(timescale, schema="fresh"))
    facts = fresh.facts()
    fresh.close()
    assert "TimescaleDB 2." in facts.version and (facts.size_bytes, facts.parts, facts.compression_ratio) == (0, 0, None)


def test_chunks_are_an_hour_once_a_day_is_large(filled: PostgresSink, timescale: TimescaleServer,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    timescale.sql("SELECT decompress_chunk(c, true) FROM show_chunks('pumpwatch.trade_history') c")
    server = Server(options_of(timescale))
    assert chunks.fit_chunks(server, "pumpwatch") == 24
    monkeypatch.setattr(chunks, "LARGE_DAY_BYTES", 1_000)
    assert chunks.fit_chunks(server, "pumpwatch") == 1
    monkeypatch.undo()
    assert chunks.fit_chunks(server, "pumpwatch", 1) == 1, "as the options say"
    server.close_idle()
    filled.open()
    now = time.time_ns()
    filled.write(batch_of(2, first_id=10**6, start_ns=now, step_ns=3600 * 10**9), CATALOGUE)
    filled.close()
    assert timescale.sql("SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'trade_history' AND"
                         " hypertable_schema = 'pumpwatch' AND range_end - range_start <= interval '1 hour'") == [(2,)]
    assert chunks.fit_chunks(server, "pumpwatch") == 24
    server.close_idle()


def test_a_server_that_is_newer_than_pg_dump_is_named(timescale: TimescaleServer) -> None:
    sink = PostgresSink(PostgresOptions(dsn=timescale.dsn, statement_timeout_ms=60_000, schema="dumped"))
    sink.open()
    sink.close()
    with pytest.raises(ConfigError, match=r"older than the server at .* \(17\)"):
        dumped(sink)
    sink.close()


def test_timescale_takes_its_steps_before_and_after(timescale: TimescaleServer) -> None:
    server = Server(PostgresOptions(dsn=timescale.dsn))
    connection = server.connect()
    version = connection.execute(b"SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    assert version
    about = About("17.5", 17, "timescale", str(version[0]), "pumpwatch")
    restoring = _Restoring(connection, Programs(PostgresOptions(dsn=timescale.dsn)), server, about)
    with pytest.raises(UsageError, match=r"the database is not empty: .*pumpwatch"):
        restoring._check_extension(str(version[0]), is_used=False)
    restoring._before = set()
    restoring._check_extension(str(version[0]), is_used=False)
    with pytest.raises(UsageError, match="already exists, or a restore was interrupted"):
        restoring._check_extension(str(version[0]), is_used=True)
    with pytest.raises(ConfigError, match=r"it has TimescaleDB 1\.7"):
        restoring._check_extension("1.7", is_used=False)
    restoring.before()
    connection.close()
    assert timescale.sql("SHOW timescaledb.restoring") == [("on",)]
    connection = server.connect()
    _Restoring(connection, Programs(PostgresOptions(dsn=timescale.dsn)), server, about).after()
    connection.close()
    assert timescale.sql("SHOW timescaledb.restoring") == [("off",)]


def test_what_a_failed_restore_made_is_dropped_with_the_extension(filled: PostgresSink, timescale: TimescaleServer) -> None:
    """The last test of the module: the database is empty afterwards."""
    server = Server(PostgresOptions(dsn=timescale.dsn))
    connection = server.connect()
    about = About("17.5", 17, "timescale", "2", "pumpwatch")
    restoring = _Restoring(connection, Programs(PostgresOptions(dsn=timescale.dsn)), server, about)
    restoring.before()
    connection.execute(b"CREATE TABLE public.others (a int)")
    assert restoring.undo() == ("the database holds parts of the backup: public.others: drop it, and name an empty database in"
                                " sinks.postgres.dsn: createdb NAME")
    connection.execute(b"DROP TABLE public.others")
    assert restoring.undo() == "nothing of the backup is left in the database"
    connection.close()
    assert timescale.sql("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'") == []
    assert timescale.sql("SELECT nspname FROM pg_namespace WHERE nspname ~ 'pumpwatch|timescale'") == []
    assert timescale.sql("SELECT setconfig FROM pg_db_role_setting WHERE setconfig::text ~ 'restoring'") == []
