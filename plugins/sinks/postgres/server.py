"""Connect to PostgreSQL, and translate its errors.

Every call blocks: PumpWatch calls a sink in native threads (pumpwatch/store/sink_threads.py). psycopg itself waits in C or on
gevent's sockets, so this module waits by the system's own poll, with a time limit. psycopg_pool is not used: gevent turns its
worker threads into greenlets of the thread that first uses it.

Nothing is set per session, because PgBouncer in transaction mode may use another session for each transaction: limits are set by
SET LOCAL, and statements are never prepared.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pumpwatch_plugins.sinks.postgres.options import PostgresOptions, address_of

from pumpwatch import ConfigError, PumpWatchError, ServiceUnavailable

if TYPE_CHECKING:
    import psycopg

CONNECT_S = 5
MARGIN_S = 3.0  # how long an answer may exceed the server's own statement timeout
LOCK_MS = 1_000  # writers wait while a DROP waits, so it must be short
BRIEFLY = f"SET LOCAL lock_timeout = {LOCK_MS}"
LOCKED = "55P03"
IDLE_MOST = 4  # idle connections to keep
SHOWN = 300  # characters of a foreign text
LOGIN = ("password authentication failed", "no password supplied", "no pg_hba.conf entry", "pg_hba.conf rejects",
         'FATAL: database "', 'FATAL: role "', "is not permitted to log in", "permission denied for database")
HINTS = {
    "25006": "the server is read-only: it is a replica, or default_transaction_read_only is on"
             " (ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf())",
    "53100": "the server's disk is full: free space there; the trades stay in the journal",
    "53300": "the server has no free connection: raise max_connections, or put PgBouncer in front of it",
    LOCKED: "another transaction uses it, such as a backup: it is retried later",
    "57014": "it took longer than sinks.postgres.statement_timeout_ms, or somebody cancelled it",
}
FORBIDDEN = "42501"
FORBIDDEN_HINT = ("grant it: GRANT CREATE ON DATABASE lets PumpWatch create its schema; the schema and its tables must belong"
                  " to the user of sinks.postgres.dsn")


class StatementRejected(ServiceUnavailable):
    """The server rejects the data of a statement; retrying does not help."""


class Server:
    """One database with a pool of connections. Any thread may call."""

    def __init__(self, options: PostgresOptions) -> None:
        self._options = options
        self.place = place_of(options.dsn)
        self.timeout_ms = options.statement_timeout_ms
        self._idle: list[psycopg.Connection[Any]] = []
        self._lent: set[int] = set()  # ids of connections in use; single set operations are thread-safe

    def connect(self, dsn: str = "") -> psycopg.Connection[Any]:
        """Return a new connection in autocommit mode. Raises ConfigError or ServiceUnavailable."""
        import psycopg
        from pumpwatch_plugins.sinks.postgres.waiting import PolledConnection

        dsn = dsn or self._options.dsn
        extra: dict[str, Any] = {"password": self._options.password} if self._options.password else {}
        if "connect_timeout" not in address_of(dsn):
            extra["connect_timeout"] = CONNECT_S
        try:
            connection: psycopg.Connection[Any] = PolledConnection.connect(dsn, autocommit=True, prepare_threshold=None,
                                                  application_name="pumpwatch", **extra)
        except psycopg.Error as error:
            raise translated(error, place_of(dsn)) from error
        return connection

    @contextlib.contextmanager
    def session(self, timeout_ms: int | None = None, also: str = "") -> Iterator[psycopg.Connection[Any]]:
        """Lend a connection in a transaction with a time limit, which is committed at the end.

        also: statements that are sent along with BEGIN. The connection is closed if the transaction fails for any reason other
        than its data. Raises the result of `translated`.
        """
        import psycopg

        wait_ms = self.timeout_ms if timeout_ms is None else timeout_ms
        connection = self._idle.pop() if self._idle else self.connect()
        self._lent.add(id(connection))
        try:
            connection.limit_s = wait_ms / 1000 + MARGIN_S  # type: ignore[attr-defined]
            connection.execute(f"BEGIN; SET LOCAL statement_timeout = {wait_ms:d}; {also}".encode())
            yield connection
            connection.execute(b"COMMIT")
        except psycopg.Error as error:
            known = translated(error, self.place)
            if isinstance(known, StatementRejected):
                with contextlib.suppress(psycopg.Error):
                    connection.execute(b"ROLLBACK")
                self._keep(connection)
            else:
                connection.close()
            raise known from error
        except BaseException:
            connection.close()
            raise
        finally:
            self._lent.discard(id(connection))
        self._keep(connection)

    @property
    def pool(self) -> tuple[int, int]:
        """Return the number of open connections, and the number of those in use."""
        lent = len(self._lent)
        return lent + len(self._idle), lent

    def rows(self, statement: str, values: Sequence[Any] = (), timeout_ms: int | None = None) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows. An idle connection that has died is replaced once."""
        was_idle = bool(self._idle)
        try:
            return self._rows(statement, values, timeout_ms)
        except ServiceUnavailable as error:
            state = getattr(error.__cause__, "sqlstate", None)
            if not was_idle or (state and not state.startswith("57P")):
                raise
            self.close_idle()
            return self._rows(statement, values, timeout_ms)

    def drop(self, statement: str, values: Sequence[Any] = ()) -> None:
        """Run a DROP. Raises ServiceUnavailable after LOCK_MS if another transaction uses the table.

        A waiting DROP already holds a lock on the whole trades table, so writers must wait too.
        """
        with self.session(also=BRIEFLY) as connection:
            connection.execute(statement.encode(), values or None)

    def _rows(self, statement: str, values: Sequence[Any], timeout_ms: int | None) -> list[tuple[Any, ...]]:
        with self.session(timeout_ms) as connection:
            cursor = connection.execute(statement.encode(), values or None, binary=True)  # numbers are not parsed
            return cursor.fetchall() if cursor.description else []

    def _keep(self, connection: psycopg.Connection[Any]) -> None:
        if len(self._idle) < IDLE_MOST and not connection.closed:
            self._idle.append(connection)
        else:
            connection.close()

    def close_idle(self) -> None:
        """Close the idle connections."""
        while self._idle:
            with contextlib.suppress(Exception):
                self._idle.pop().close()


def place_of(dsn: str) -> str:
    """Return the server and database of a dsn for a message, without its user and password."""
    parts = address_of(dsn)
    host = parts.get("host") or parts.get("hostaddr") or "a socket of this machine"
    return f"PostgreSQL at {host}:{parts.get('port') or 5432}/{parts.get('dbname') or parts.get('user') or ''}"


def translated(error: Any, place: str) -> PumpWatchError:
    """Translate an error of psycopg.

    ConfigError: a person must act. StatementRejected: the data are invalid. ServiceUnavailable: may succeed later.
    """
    state = error.sqlstate or ""
    said = " ".join(str(error).split())[:SHOWN]
    if state == FORBIDDEN:
        return ConfigError(f"{place}: {said}", FORBIDDEN_HINT)
    if state.startswith(("28", "3D")) or (not state and any(part in said for part in LOGIN)):
        return ConfigError(f"{place} rejects the login: {said}", "set sinks.postgres.dsn and sinks.postgres.password")
    import psycopg

    if state.startswith(("22", "23")) or isinstance(error, psycopg.DataError):
        return StatementRejected(f"{place} rejects the data: {said}")
    if not state and isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return ServiceUnavailable(f"{place} does not answer: {said}")
    return ServiceUnavailable(f"{place}: {said} ({state or type(error).__name__})", HINTS.get(state, ""))

