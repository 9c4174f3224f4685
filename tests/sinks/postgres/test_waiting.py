"""The connection waits by the system's poll: large messages both ways, and no longer than its limit."""

from __future__ import annotations

import psycopg
import pytest
from pumpwatch_plugins.sinks.postgres.waiting import PolledConnection

from tests.postgres_server import Database


def test_large_messages_go_both_ways(postgres: Database) -> None:
    with PolledConnection.connect(postgres.dsn, autocommit=True) as connection:
        text = "x" * 5_000_000
        assert connection.execute("SELECT %s::text", (text,)).fetchone() == (text,)
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1 / 0")
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_step_that_takes_longer_than_the_limit_breaks_the_connection(postgres: Database) -> None:
    with PolledConnection.connect(postgres.dsn, autocommit=True) as connection:
        connection.limit_s = 0.1
        with pytest.raises(psycopg.OperationalError, match="no answer within"):
            connection.execute("SELECT pg_sleep(30)")
        assert connection.closed
