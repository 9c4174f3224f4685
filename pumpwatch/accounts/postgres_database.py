"""The account ledger in a PostgreSQL database. Needs the extra `postgres`.

No statement is prepared on the server, so that it works through a pooler in transaction mode.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pumpwatch.accounts.database import Database, Row, conflict
from pumpwatch.accounts.refusals import DamagedLedgerError
from pumpwatch.errors import ConfigError, ServiceUnavailable, StorageError
from pumpwatch.net.texts import masked

if TYPE_CHECKING:
    import psycopg

CONNECT_S = 10
SCHEMA_LOCK = 7_093_426_117_552_090_112  # our key of an advisory lock
# SQLSTATEs: another transaction was first; the disk is full; data or tables are damaged
_CONFLICTS = ("23505", "40001", "40P01")
_NO_ROOM, _BROKEN = ("53100",), ("XX001", "XX002", "42P01", "42703")


@functools.cache
def translated(statement: str) -> bytes:
    """Return a statement with psycopg's placeholders. Our statements contain no literal `?` or `%`."""
    return statement.replace("?", "%s").encode()


class PostgresDatabase(Database):
    """One connection to a database. dsn: `postgresql://USER@HOST:PORT/DATABASE`."""

    types: Mapping[str, str] = {"amount": "NUMERIC(36, 18)", "number": "BIGINT", "json": "JSON",
                                "counter": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"}

    def __init__(self, dsn: str, *, read_only: bool = False) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise ConfigError("the account ledger in PostgreSQL needs the extra `postgres`",
                              "pip install 'pumpwatch[postgres]'") from error
        self._psycopg = psycopg
        self.name, self.read_only = masked(dsn), read_only
        try:
            self.connection = psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_S, prepare_threshold=None,
                                              application_name="pumpwatch account ledger")
        except psycopg.ProgrammingError as error:
            raise ConfigError(f"{self.name}: {_line(error)}", "postgresql://USER@HOST:PORT/DATABASE") from error
        except psycopg.Error as error:
            raise ServiceUnavailable(f"{self.name}: {_line(error)}") from error

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except self._psycopg.Error as error:
            raise self._explained(doing, error) from error

    def _explained(self, doing: str, error: psycopg.Error) -> Exception:
        state, text = error.sqlstate or "", f"{self.name}: {doing} failed: {_line(error)}"
        if state in _CONFLICTS:
            return conflict(_line(error))
        if state in _NO_ROOM:
            return StorageError(text, "free space on the server's disk")
        if state in _BROKEN:
            return DamagedLedgerError(text, "restore the database from a backup")
        if self.connection.closed or state.startswith(("08", "57", "53")):
            return ServiceUnavailable(text, "the transaction was not confirmed: check the ledger before you repeat it")
        return StorageError(text)

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        with self._errors("read"):
            return self.connection.execute(translated(statement), values).fetchall()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        with self._errors("write"):
            return self.connection.execute(translated(statement), values).rowcount

    def many(self, statement: str, rows: Sequence[Sequence[Any]]) -> int:
        with self._errors("write"), self.connection.cursor() as cursor:
            cursor.executemany(translated(statement), rows)
            return cursor.rowcount

    def begin(self) -> None:
        self.execute("BEGIN")

    def commit(self) -> None:
        self.execute("COMMIT")

    def roll_back(self) -> None:
        if not self.connection.closed and self.in_transaction:
            with suppress(self._psycopg.Error):  # the connection is gone, and the transaction with it
                self.connection.execute("ROLLBACK")

    @property
    def in_transaction(self) -> bool:
        return self.connection.info.transaction_status != self._psycopg.pq.TransactionStatus.IDLE

    def begin_snapshot(self) -> None:
        self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def has_table(self, name: str) -> bool:
        return self.rows("SELECT to_regclass(?) IS NOT NULL", [name]) == [(True,)]

    def lock_out(self) -> None:
        self.rows("SELECT pg_advisory_xact_lock(?)", [SCHEMA_LOCK])
        if self.has_table("events"):
            self.execute("LOCK TABLE accounts, events IN EXCLUSIVE MODE")

    def problems(self) -> list[str]:
        """Return nothing: the server checks its pages by itself."""
        return []

    def close(self) -> None:
        self.connection.close()


def _line(error: Exception) -> str:
    """Return the message of an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__
