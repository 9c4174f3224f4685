"""The tables of the sink: versioned SQL files, applied in order under an advisory lock.

`NNN_NAME.sql` applies to every database, `NNN_NAME.native.sql` to plain partitions, `NNN_NAME.timescale.sql` to a hypertable. The
first version decides between the two for good. A step never changes after its release.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pumpwatch_plugins.sinks.postgres.options import PostgresOptions
from pumpwatch_plugins.sinks.postgres.server import Server

from pumpwatch import ConfigError

if TYPE_CHECKING:
    import psycopg

FOLDER = Path(__file__).parent / "migrations"
NATIVE, TIMESCALE = "native", "timescale"
LOCK = "hashtext('pumpwatch ' || %s)"  # one migration per schema at a time
MIGRATION_MS = 600_000  # creating an index may take minutes; the upkeep computes candles later
TYPES = {"double": ("double precision", "double precision"), "numeric": ("numeric(36, 18)", "numeric")}
SHOWN_TYPES = {"double": "double precision", "numeric": "numeric"}
COLUMNS = ("time", "received_at", "price", "quantity", "sequence_number", "time_ns", "received_ns", "flags", "side", "exchange",
           "market_type", "symbol", "trade_id")


@dataclass(frozen=True, slots=True)
class Schema:
    """The state of a database. engine: native or timescale. extension: the version of TimescaleDB, empty without one."""

    version: int
    engine: str
    server: str
    extension: str


@dataclass(frozen=True, slots=True)
class Step:
    """One version: its number, its name, and its files by engine; "" for both."""

    version: int
    name: str
    files: dict[str, Path]


def steps(folder: Path = FOLDER) -> list[Step]:
    """Return the steps in order."""
    found: dict[int, Step] = {}
    for path in sorted(folder.glob("*.sql")):
        match = re.fullmatch(r"(\d{3})_(\w+)(?:\.(native|timescale))?\.sql", path.name)
        assert match, f"not the name of a step: {path.name}"
        step = found.setdefault(int(match[1]), Step(int(match[1]), match[2], {}))
        step.files[match[3] or ""] = path
    return [found[number] for number in sorted(found)]


def ensure(server: Server, options: PostgresOptions, upto: int | None = None) -> Schema:
    """Migrate the schema to this version of PumpWatch, and check its columns. upto: the last step to apply, for tests.

    Raises ConfigError for a newer schema, a conflicting table, or wrong columns; ServiceUnavailable.
    """
    known = steps()
    last = known[-1].version if upto is None else upto
    with server.session(MIGRATION_MS) as connection:
        connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})".encode(), (options.schema,))
        if _exists(connection, "SELECT 1 FROM pg_namespace WHERE nspname = %s", restoring_mark(options.schema)):
            raise ConfigError(f"{server.place}: schema {options.schema} is being restored, or a restore was cut off",
                              "wait for it, or run it again: pumpwatch restore FROM --sink postgres")
        if not _exists(connection, "SELECT 1 FROM pg_namespace WHERE nspname = %s", options.schema):
            connection.execute(f"CREATE SCHEMA {options.schema}".encode())
        version, engine = _stored(connection, options.schema)
        if version > known[-1].version:
            raise ConfigError(f"{server.place}: schema {options.schema} has version {version},"
                              f" this PumpWatch knows {known[-1].version}",
                              "use the PumpWatch that made it or a newer one, or set sinks.postgres.schema")
        extension = _one(connection, "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
        engine = engine or (TIMESCALE if extension else NATIVE)
        if version < last:
            _migrate(server, connection, options, engine, [step for step in known if version < step.version <= last])
        _check_columns(server, connection, options)
        return Schema(max(version, last), engine, _one(connection, "SHOW server_version"), extension)


def restoring_mark(schema: str) -> str:
    """Return the name of the schema that exists while a backup is being restored."""
    return f"{schema[:50]}_restoring"


def _migrate(server: Server, connection: psycopg.Connection[Any], options: PostgresOptions, engine: str,
             wanted: list[Step]) -> None:
    import psycopg

    connection.execute(f"SET LOCAL search_path TO {options.schema}, public".encode())
    connection.execute(b"CREATE TABLE IF NOT EXISTS schema_version (version integer PRIMARY KEY, name text NOT NULL,"
                       b" engine text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())")
    for step in wanted:
        for kind in ("", engine):
            if path := step.files.get(kind):
                try:
                    connection.execute(filled(path.read_text("utf-8"), options, engine).encode())
                except (psycopg.errors.DuplicateTable, psycopg.errors.DuplicateObject) as error:
                    raise ConfigError(f"{server.place}: schema {options.schema}: a table is in the way: {error}".strip(),
                                      "rename it (ALTER TABLE ... RENAME TO ...), or set sinks.postgres.schema") from error
        connection.execute(b"INSERT INTO schema_version (version, name, engine) VALUES (%s, %s, %s)",
                           (step.version, step.name, engine))


def filled(text: str, options: PostgresOptions, engine: str) -> str:
    """Return the text of a step with its placeholders replaced by types and queries."""
    number, wide = TYPES[options.numbers]
    values = {"number": number, "wide_number": wide, "partitioned": " PARTITION BY RANGE (time)" if engine == NATIVE else "",
              "roll_up_5m": roll_up("5 minutes", "candles", engine), "roll_up_1h": roll_up("1 hour", "candles_5m", engine),
              "roll_up_1d": roll_up("1 day", "candles_1h", engine), "daily": daily(engine)}
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], text)


def _bucket(width: str, engine: str) -> str:
    return f"time_bucket(interval '{width}', time)" if engine == TIMESCALE else \
        f"date_bin(interval '{width}', time, '2000-01-01 00:00+00'::timestamptz)"


def _edge(column: str, first: bool, engine: str) -> str:
    if engine == TIMESCALE:
        return f"{'first' if first else 'last'}({column}, time)"
    return f"(array_agg({column} ORDER BY time{'' if first else ' DESC'}))[1]"


def roll_up(width: str, source: str, engine: str) -> str:
    """Return the SELECT of longer candles from shorter ones."""
    return (f"SELECT {_bucket(width, engine)} AS time, exchange, market_type, symbol, {_edge('open', True, engine)} AS open,"
            f" max(high) AS high, min(low) AS low, {_edge('close', False, engine)} AS close, sum(volume) AS volume,"
            f" sum(turnover) AS turnover, sum(buy_volume) AS buy_volume, sum(trades)::bigint AS trades FROM {source}"
            " GROUP BY 1, exchange, market_type, symbol")


def daily(engine: str) -> str:
    """Return the SELECT of an instrument's daily statistics, by UTC day."""
    return (f"SELECT {_bucket('1 day', engine)} AS time, exchange, market_type, symbol, {_edge('open', True, engine)} AS open,"
            f" max(high) AS high, min(low) AS low, {_edge('close', False, engine)} AS close, sum(volume) AS volume,"
            " sum(turnover) AS turnover, sum(turnover) / nullif(sum(volume), 0) AS average_price,"
            " sum(buy_volume) / nullif(sum(volume), 0) AS buy_share, sum(trades)::bigint AS trades,"
            " max(volume) AS busiest_hour_volume FROM candles_1h GROUP BY 1, exchange, market_type, symbol")


def _stored(connection: psycopg.Connection[Any], schema: str) -> tuple[int, str]:
    """Return the version and the engine of the schema; 0 and an empty text without a version."""
    if not _exists(connection, "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = 'schema_version'", schema):
        return 0, ""
    rows = connection.execute(
        f"SELECT version, engine FROM {schema}.schema_version ORDER BY version DESC LIMIT 1".encode()).fetchall()
    return (int(rows[0][0]), str(rows[0][1])) if rows else (0, "")


def _check_columns(server: Server, connection: psycopg.Connection[Any], options: PostgresOptions) -> None:
    rows = connection.execute(b"SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = %s"
                              b" AND table_name = 'trade_history'", (options.schema,)).fetchall()
    kinds = {str(name): str(kind) for name, kind in rows}
    table = f"{server.place}: table {options.schema}.trade_history"
    if missing := [name for name in COLUMNS if name not in kinds]:
        raise ConfigError(f"{table}: column {missing[0]} is missing", "restore it, or set sinks.postgres.schema")
    if kinds["price"] != SHOWN_TYPES[options.numbers]:
        stored = next((name for name, kind in SHOWN_TYPES.items() if kind == kinds["price"]), "double")
        raise ConfigError(f"{table}: column price is {kinds['price']}, sinks.postgres.numbers is {options.numbers}",
                          f"set sinks.postgres.numbers to {stored}, or sinks.postgres.schema to a new one")


def _exists(connection: psycopg.Connection[Any], statement: str, *values: str) -> bool:
    return connection.execute(statement.encode(), values).fetchone() is not None


def _one(connection: psycopg.Connection[Any], statement: str) -> str:
    row = connection.execute(statement.encode()).fetchone()
    return str(row[0]) if row else ""
