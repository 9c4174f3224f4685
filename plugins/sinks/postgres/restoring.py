"""Restore a backup into an empty database with pg_restore: tables, days, then indexes.

The empty schema `SCHEMA_restoring` marks a restore that is running or was interrupted. The sink does not open while it exists,
and the next restore removes the data of the interrupted one. After a failure all new tables are dropped, over a new connection if
the first one was lost; the error says what is left. With TimescaleDB, pg_restore runs between the extension's pre and post steps
(docs.timescale.com, "Logical backup"), and the extension is created in the version of the backup.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from pumpwatch_plugins.sinks.postgres.backup import ABOUT, DATABASE, HOLD_S, STATE, TABLES
from pumpwatch_plugins.sinks.postgres.options import PostgresOptions
from pumpwatch_plugins.sinks.postgres.programs import Programs
from pumpwatch_plugins.sinks.postgres.schema import TIMESCALE, restoring_mark
from pumpwatch_plugins.sinks.postgres.server import Server, translated

from pumpwatch import ConfigError, JudgeRows, OpenPart, PumpWatchError, UsageError

RESTORE = ("--format=custom", "--no-owner", "--no-privileges", "--no-comments", "--exit-on-error")
FRESH_HINT = "name an empty database in sinks.postgres.dsn: createdb NAME"


class About(msgspec.Struct):
    """The server and the schema of a backup."""

    server: str
    major: int
    engine: str
    extension: str
    schema: str


def restore(server: Server, options: PostgresOptions, names: Sequence[str], open_part: OpenPart,
            judge: JudgeRows) -> dict[str, dict[str, int]]:
    """Fill an empty database, see `BackedUpSink.restore`."""
    import psycopg

    with open_part(ABOUT) as file:
        try:
            about = msgspec.json.decode(file.read(), type=About)
        except ValueError as error:
            raise UsageError(f"{ABOUT} is not part of a PostgreSQL backup: {error}") from error
    programs = Programs(options)
    connection = server.connect(programs.dsn)
    connection.limit_s = HOLD_S
    try:
        restoring = _Restoring(connection, programs, server, about)
    except psycopg.Error as error:
        connection.close()
        raise translated(error, server.place) from error
    try:
        restoring.check(options)
        with restoring.marked():
            if about.engine == TIMESCALE:
                restoring.whole_database(open_part)
            else:
                restoring.schema(names, open_part)
            rows = restoring.rows(names)
            judge(rows)
        return rows
    except psycopg.Error as error:
        raise translated(error, server.place) from error
    finally:
        restoring.close()


class _Restoring:
    """One restore, with one connection besides those of pg_restore."""

    def __init__(self, connection: Any, programs: Programs, server: Server, about: About) -> None:
        self._connection, self._programs, self._server, self._about = connection, programs, server, about
        self._place, self._mark = server.place, restoring_mark(about.schema)
        self._program = ""
        self._database, self._before = str(self._one("SELECT quote_ident(current_database())")[0]), self._others()

    def _one(self, statement: str, *values: Any) -> Any:
        return self._connection.execute(statement.encode(), values).fetchone()

    def close(self) -> None:
        """Close the connection, which releases the lock."""
        import psycopg

        with contextlib.suppress(psycopg.Error):
            self._connection.close()

    def _lock(self) -> bool:
        return bool(self._one("SELECT pg_try_advisory_lock(hashtext('pumpwatch restore ' || %s))", self._about.schema)[0])

    def check(self, options: PostgresOptions) -> None:
        """Raise UsageError or ConfigError if the backup cannot be restored onto this server."""
        about, where = self._about, f"{self._place}: "
        if options.schema != about.schema:
            raise ConfigError(f"{where}the backup is of schema {about.schema}, and sinks.postgres.schema is {options.schema}",
                              f"set sinks.postgres.schema to {about.schema}")
        version, major, extension = self._one(STATE)
        if major < about.major:
            raise ConfigError(f"{where}the server is PostgreSQL {version}, older than that of the backup ({about.server})",
                              f"restore onto PostgreSQL {about.major} or newer")
        self._program = self._programs.find("pg_restore", about.major, "the server of the backup")
        if not self._lock():
            raise UsageError(f"{where}another restore is running", "wait until it has ended")
        cut_off = self._one("SELECT 1 FROM pg_namespace WHERE nspname = %s", self._mark) is not None
        there = self._one("SELECT 1 FROM pg_namespace WHERE nspname = %s", about.schema) is not None
        if about.engine == TIMESCALE:
            self._check_extension(extension, cut_off or there)
        elif there and not cut_off:
            raise UsageError(f"{where}schema {about.schema} already exists, and a backup needs an empty database",
                             FRESH_HINT)

    def _check_extension(self, extension: str, is_used: bool) -> None:
        about = self._about
        if is_used:
            raise UsageError(f"{self._place}: schema {about.schema} already exists, or a restore was interrupted", FRESH_HINT)
        if not self._one("SELECT 1 FROM pg_available_extension_versions WHERE name = 'timescaledb' AND version = %s",
                         about.extension):
            raise ConfigError(f"{self._place}: the backup needs TimescaleDB {about.extension}, which the server does not have",
                              "install that version; update it after the restore: ALTER EXTENSION timescaledb UPDATE")
        if extension not in ("", about.extension):
            raise ConfigError(f"{self._place}: it has TimescaleDB {extension}, and the backup needs {about.extension}",
                              f"in a new database: CREATE EXTENSION timescaledb VERSION '{about.extension}'")
        if extension and self._before:  # a restore that fails drops the extension, and with it the rows of every hypertable
            raise UsageError(f"{self._place}: the database is not empty: {', '.join(sorted(self._before))}", FRESH_HINT)

    def _others(self) -> set[str]:
        """Return the schemas and the relations of `public` that belong to no extension."""
        rows = self._connection.execute(
            b"SELECT n.nspname::text FROM pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN"
            b" ('information_schema', 'public') AND NOT EXISTS"
            b" (SELECT 1 FROM pg_depend d WHERE d.objid = n.oid AND d.deptype = 'e')"
            b" UNION ALL SELECT 'public.' || c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace"
            b" AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND NOT EXISTS"
            b" (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')").fetchall()
        return {str(name) for name, in rows}

    @contextlib.contextmanager
    def marked(self) -> Iterator[None]:
        """Hold the mark of a restore; remove the data of an earlier one, and those of this one if it fails.

        The hint of the error says what is left then.
        """
        import psycopg

        self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self._mark}".encode())
        if self._about.engine != TIMESCALE:
            self._connection.execute(f"DROP SCHEMA IF EXISTS {self._about.schema} CASCADE".encode())
        try:
            yield
        except BaseException as error:
            left = self.undo()
            told = translated(error, self._place) if isinstance(error, psycopg.Error) else error
            if isinstance(told, PumpWatchError):
                told.hint = "; ".join(filter(None, (told.hint, left)))
            if told is not error:
                raise told from error
            raise
        self._connection.execute(f"DROP SCHEMA {self._mark}".encode())

    def undo(self) -> str:
        """Drop everything that this restore has made; return a sentence about what is left."""
        import psycopg

        schema, is_timescale = self._about.schema, self._about.engine == TIMESCALE
        statements = [f"DROP SCHEMA IF EXISTS {schema} CASCADE", f"DROP SCHEMA IF EXISTS {self._mark}"]
        if is_timescale:
            statements = ["DROP EXTENSION IF EXISTS timescaledb CASCADE", *statements,
                          f"ALTER DATABASE {self._database} RESET timescaledb.restoring"]
        for again in (False, True):
            try:
                if again:  # the server ended the first connection
                    self.close()
                    self._connection = self._server.connect(self._programs.dsn)
                    self._connection.limit_s = HOLD_S
                    if not self._lock():
                        return "another restore has started"
                for statement in statements:
                    self._connection.execute(statement.encode())
                left = self._others() - self._before - {schema, self._mark}
            except (psycopg.Error, PumpWatchError):
                continue
            if not left:
                return "nothing of the backup is left in the database"
            return f"the database holds parts of the backup: {', '.join(sorted(left))}: drop it, and {FRESH_HINT}"
        if is_timescale:
            return f"the database is incomplete: drop it, and {FRESH_HINT}"
        return f"schema {schema} is half restored, and the sink does not open: run the same command again; it starts over"

    def schema(self, names: Sequence[str], open_part: OpenPart) -> None:
        """Restore the tables and the days, and the indexes after them."""
        self._feed(open_part, TABLES, "--section=pre-data", "--section=data")
        for name in sorted(set(names) - {ABOUT, TABLES}):
            self._feed(open_part, name)
        self._feed(open_part, TABLES, "--section=post-data")

    def whole_database(self, open_part: OpenPart) -> None:
        """Restore a database of TimescaleDB."""
        self._connection.execute(
            f"CREATE EXTENSION IF NOT EXISTS timescaledb WITH VERSION '{self._about.extension}'".encode())
        self.before()
        self._feed(open_part, DATABASE)
        self.after()

    def before(self) -> None:
        """Stop TimescaleDB's jobs and triggers."""
        self._one("SELECT timescaledb_pre_restore()")

    def after(self) -> None:
        """Restart TimescaleDB's jobs and triggers."""
        self._one("SELECT timescaledb_post_restore()")

    def _feed(self, open_part: OpenPart, name: str, *words: str) -> None:
        with open_part(name) as source:
            self._programs.feed(source, self._program, *RESTORE, *words)

    def rows(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        """Count the rows of every table of the schema, by backup part."""
        found: dict[str, dict[str, int]] = {}
        tables = self._connection.execute(
            b"SELECT c.relname::text, c.relispartition FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            b" WHERE n.nspname = %s AND c.relkind = 'r'", (self._about.schema,)).fetchall()
        for table, partition in tables:
            part = DATABASE if DATABASE in names else f"days/{table}.dump" if partition else TABLES
            count = self._one(f"SELECT count(*) FROM {self._about.schema}.{table}")[0]
            found.setdefault(part, {})[str(table)] = int(count)
        return found


__all__ = ["About", "restore"]
