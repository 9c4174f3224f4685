"""Fixtures of the PostgreSQL sink's tests. They share one server; each test has a database of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pumpwatch_plugins.sinks.postgres import PostgresOptions, PostgresSink

from tests.postgres_server import Database


@pytest.fixture
def sink(postgres: Database) -> Iterator[PostgresSink]:
    made = PostgresSink(PostgresOptions(dsn=postgres.dsn))
    made.open()
    yield made
    made.close()
