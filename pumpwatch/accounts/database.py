"""The database interface of the account ledger, the same for SQLite and PostgreSQL.

Statements use `?` for a value. Amounts are passed as text and returned as text or Decimal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from pumpwatch.accounts.refusals import ConflictError

Row = tuple[Any, ...]


class Database(Protocol):
    """One connection. Methods raise StorageError, DamagedLedgerError, ServiceUnavailable, or ConflictError.

    name: for messages, without a password. types: the column types of the schema, see schema.py.
    """

    name: str
    read_only: bool
    types: Mapping[str, str]

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return the rows of a query."""

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; return the number of rows that it changed."""

    def many(self, statement: str, rows: Sequence[Sequence[Any]]) -> int:
        """Run a statement for each row of values; return the total number of changed rows."""

    def begin(self) -> None:
        """Begin a transaction that writes."""

    def commit(self) -> None:
        """Commit the transaction; afterwards it is durable."""

    def roll_back(self) -> None:
        """Undo the transaction; harmless if none is open, or if the connection is lost."""

    @property
    def in_transaction(self) -> bool:
        """Return whether a transaction is open."""

    def begin_snapshot(self) -> None:
        """Begin a transaction that only reads: every query inside sees the same state."""

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Commit all changes inside, or none; inside a transaction, leave that to the outer one."""
        if self.in_transaction:
            yield
            return
        self.begin()
        try:
            yield
            self.commit()
        except BaseException:
            self.roll_back()
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Make every query inside see the same state; inside a transaction, the state of that one."""
        if self.in_transaction:
            yield
            return
        self.begin_snapshot()
        try:
            yield
        finally:
            self.roll_back()

    def has_table(self, name: str) -> bool:
        """Return whether a table exists."""

    def lock_out(self) -> None:
        """Lock out all other writers until the end of the transaction."""

    def problems(self) -> list[str]:
        """Return the problems that the database's own check finds in its file."""

    def close(self) -> None:
        """Close the connection; an open transaction is undone."""


def conflict(error: object = "") -> ConflictError:
    """Return the error of a transaction that conflicts with another writer."""
    reason = f": {error}" if error else ""
    return ConflictError(f"the account ledger was changed by another writer meanwhile{reason}", "repeat the transaction")


def placeholders(columns: Iterable[str]) -> str:
    """Return `?, ?, ...` for columns."""
    return ", ".join("?" for _ in columns)
