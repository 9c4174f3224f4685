"""The figures of the server are those of the tables that hold the trades."""

from __future__ import annotations

import re

from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink

from tests.postgres_server import Database
from tests.sinks.stores import CATALOGUE
from tests.trades import batch_of


def test_sizes_and_partitions_grow_with_the_trades(sink: PostgresSink, postgres: Database) -> None:
    before = sink.facts()
    assert re.fullmatch(r"PostgreSQL \d+\.\d+", before.version) and before.compression_ratio is None
    sink.write(batch_of(2_000), CATALOGUE)
    postgres.sql("SELECT pg_stat_force_next_flush()")
    after = sink.facts()
    assert after.size_bytes is not None and before.size_bytes is not None and after.size_bytes > before.size_bytes + 100_000
    assert after.parts == postgres.value("SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r'")
    assert after.cache_hit_ratio is not None and 0 < after.cache_hit_ratio <= 1


def test_without_the_schema_there_is_nothing_to_size(postgres: Database) -> None:
    facts = PostgresSink(PostgresOptions(dsn=postgres.dsn)).facts()
    assert (facts.size_bytes, facts.parts) == (0, 0)
