"""Back up one schema with pg_dump, all of it as of one moment: a dump of the tables without trades, and one for each day.

All pg_dump processes use one snapshot that this module holds. A past day that has not changed is not dumped again; the file of an
earlier backup is used. A database with TimescaleDB can only be dumped as a whole, because the extension's own tables map chunks
to tables.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pumpwatch_plugins.sinks.postgres.days import parts
from pumpwatch_plugins.sinks.postgres.options import PostgresOptions
from pumpwatch_plugins.sinks.postgres.programs import Programs
from pumpwatch_plugins.sinks.postgres.schema import TIMESCALE
from pumpwatch_plugins.sinks.postgres.server import Server, translated
from pumpwatch_plugins.sinks.postgres.upkeep import MADE

from pumpwatch import BackupPart, ConfigError, HeldBackup, Readable

ABOUT, TABLES, DATABASE = "about.json", "tables.dump", "database.dump"
DAY_FILE = "days/{}.dump"
DUMP = ("--format=custom", "--compress=0", "--no-owner", "--no-privileges")  # the backup compresses by itself
HOLD_S = 24 * 3600.0  # longest statement while the snapshot is held
STATE = ("SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000,"
         " coalesce((SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'), '')")
TABLE_NAMES = ("SELECT c.relname::text, c.relispartition, pg_total_relation_size(c.oid) FROM pg_class c JOIN pg_namespace n ON"
               " n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind = 'r' ORDER BY 1")


class Held:
    """A snapshot of one schema, as a `HeldBackup`."""

    def __init__(self, connection: Any, programs: Programs, server: Server, schema: str, keys: Mapping[str, str]) -> None:
        self._connection, self._programs, self._schema = connection, programs, schema
        version, major, extension = connection.execute(STATE.encode()).fetchone()
        engine = connection.execute(f"SELECT engine FROM {schema}.schema_version LIMIT 1".encode()).fetchone()[0]
        self._dump = programs.find("pg_dump", major, f"the server at {server.place}")
        self._snapshot = connection.execute(b"SELECT pg_export_snapshot()").fetchone()[0]
        self._about = {"format": 1, "server": version, "major": major, "engine": engine, "extension": extension,
                       "schema": schema}
        tables = [(str(name), bool(partition), int(size))
                  for name, partition, size in connection.execute(TABLE_NAMES.encode(), (schema,)).fetchall()]
        self._rows_of: dict[str, list[str]] = {}
        self.parts = [BackupPart(ABOUT)]
        self._days = [] if engine == TIMESCALE else [(name, size) for name, partition, size in tables if partition]
        days = {name for name, _ in self._days}
        made = [f"{schema}.{name}" for name, _ in self._days if MADE.fullmatch(name)]
        if made:  # days must not be dropped before they are dumped
            connection.execute(f"LOCK TABLE {', '.join(made)} IN ACCESS SHARE MODE".encode())
        rest = [(name, size) for name, _, size in tables if name not in days]
        names = [name for name, _ in rest]
        if engine == TIMESCALE:
            size = connection.execute(b"SELECT pg_database_size(current_database())").fetchone()[0]
            self._add(BackupPart(DATABASE, size_bytes=int(size)), sorted({*names, "trade_history"}))
        else:
            self._add(BackupPart(TABLES, size_bytes=sum(size for _, size in rest)), names)
            for name, size in self._days:
                self._add(BackupPart(DAY_FILE.format(name), keys.get(name, ""), size), [name])

    def _add(self, part: BackupPart, tables: list[str]) -> None:
        self.parts.append(part)
        self._rows_of[part.name] = tables

    @contextlib.contextmanager
    def open(self, part: BackupPart) -> Iterator[Readable]:
        """Yield the output of pg_dump for a part."""
        if part.name == ABOUT:
            yield io.BytesIO(json.dumps(self._about).encode())
            return
        if part.name == DATABASE:
            which = []
        elif part.name == TABLES:
            which = ["--schema", self._schema, *(f"--exclude-table-data={self._schema}.{name}" for name, _ in self._days)]
        else:
            which = ["--data-only", "--table", f"{self._schema}.{self._rows_of[part.name][0]}"]
        with self._programs.reading(self._dump, *DUMP, f"--snapshot={self._snapshot}", *which) as output:
            yield output

    def rows(self, part: BackupPart) -> dict[str, int]:
        """Count the rows of a part, in the same snapshot."""
        return {table: int(self._connection.execute(f"SELECT count(*) FROM {self._schema}.{table}".encode()).fetchone()[0])
                for table in self._rows_of.get(part.name, ())}


@contextlib.contextmanager
def hold(server: Server, options: PostgresOptions) -> Iterator[HeldBackup]:
    """Take a snapshot of the schema. Raises ServiceUnavailable or ConfigError."""
    import psycopg

    # Keys are read before the snapshot, so that a change in between makes the next backup dump the day again.
    keys = {part.name: part.key for part in parts(server, options.schema)}
    server.close_idle()
    programs = Programs(options)
    connection = server.connect(programs.dsn)
    try:
        connection.limit_s = HOLD_S
        connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL statement_timeout = 0;"
                           b" SET LOCAL idle_in_transaction_session_timeout = 0")
        there = connection.execute(b"SELECT to_regclass(%s) IS NOT NULL", (f"{options.schema}.schema_version",)).fetchone()
        if there is None or not there[0]:
            raise ConfigError(f"{server.place}: schema {options.schema} does not exist, nothing to back up",
                              "start the collector once with this sink, or set sinks.postgres.schema")
        yield Held(connection, programs, server, options.schema, keys)
    except psycopg.Error as error:
        raise translated(error, server.place) from error
    finally:
        with contextlib.suppress(psycopg.Error):
            connection.close()


