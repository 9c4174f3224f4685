"""PostgreSQL as a sink, with the TimescaleDB extension if the database has it.

Documents: postgresql.org/docs (COPY, partitioning), docs.timescale.com (hypertables, continuous aggregates), psycopg.org; tested
with server 15.18, PgBouncer 1.18 and TimescaleDB 2.23, checked 2026-11-28. psycopg comes with the extra `postgres` and is loaded
on first use.
"""

from __future__ import annotations

from pumpwatch_plugins.sinks.postgres.options import PostgresOptions
from pumpwatch_plugins.sinks.postgres.sink import PostgresSink

from pumpwatch import SinkPlugin, hookimpl

__all__ = ["PostgresOptions", "PostgresSink"]


@hookimpl
def sinks() -> list[SinkPlugin]:
    """Return the PostgreSQL sink."""
    return [SinkPlugin("postgres", PostgresOptions, PostgresSink)]
