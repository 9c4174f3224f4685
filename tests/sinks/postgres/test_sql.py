"""SQL of the PostgreSQL sink: moments to the microsecond, ranges to the nanosecond."""

from __future__ import annotations

from pumpwatch_plugins.sinks.postgres import PostgresSink, sql

from tests.postgres_server import Database
from tests.sinks.stores import CATALOGUE
from tests.trades import batch_of


def test_a_range_is_exact_to_the_nanosecond(sink: PostgresSink, postgres: Database) -> None:
    start = 1_795_000_000_000_001_500
    sink.write(batch_of(3_000, start_ns=start, step_ns=1), CATALOGUE)
    for first, end in ((0, 3_000), (1, 2_999), (499, 501), (500, 1_500), (700, 701), (1_234, 1_234)):
        condition = sql.within(start + first, start + end)
        assert postgres.value(f"SELECT count(*) FROM pumpwatch.trade_history WHERE {condition}") == end - first, (first, end)


def test_moments_before_1970_are_moments() -> None:
    assert sql.moment(-1).microsecond == 999_999
    assert sql.literal(1_000) == "'1970-01-01T00:00:00.000001+00:00'::timestamptz"


def test_an_upsert_replaces_what_is_no_key() -> None:
    statement, values = sql.upsert("s", "listing_events", ("source", "notice_id", "symbol", "title"), [["a", "b", "c", "d"]] * 2)
    assert statement.count("(%s, %s, %s, %s)") == 2 and values == ["a", "b", "c", "d"] * 2
    assert statement.endswith("ON CONFLICT (source, notice_id, symbol) DO UPDATE SET title = EXCLUDED.title")


def test_health_without_a_trade_has_neither_time_nor_error() -> None:
    row = {**dict.fromkeys(sql.HEALTH, 1), "last_trade_time": 0, "error_message": ""}
    assert sql.health_rows([row], sql.moment(0), 5)[0][-3:] == [None, 1, None]
    row |= {"last_trade_time": 10**9, "error_message": "a\0bcdefgh"}
    assert sql.health_rows([row], sql.moment(0), 5)[0][-3:] == [sql.moment(10**9), 1, "abcd"]
