"""The calls that the account ledger makes to a database: few, the same for SQLite and PostgreSQL.

Statements are written once, with `?` for a value. Amounts go in as text and come out as text or Decimal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from pumpwatch.accounts.refusals import ConflictError

Row = tuple[Any, ...]


class Database(Protocol):
    """One connection. Errors come as StorageError, DamagedLedgerError, ServiceUnavailable, or ConflictError.

    name: for messages, without a password. types: the words of a schema, see schema.py.
    """

    name: str
    read_only: bool
    types: Mapping[str, str]

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return the rows of a query."""

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; return the number of rows that it changed."""

    def many(self, statement: str, rows: Sequence[Sequence[Any]]) -> int:
        """Run a statement for each row of values; return the number of rows that they changed together."""

    def begin(self) -> None:
        """Begin a transaction that writes."""

    def commit(self) -> None:
        """Commit it; what was written is durable then."""

    def roll_back(self) -> None:
        """Undo it; harmless where none is open, or the connection is gone."""

    @property
    def in_transaction(self) -> bool:
        """Return whether a transaction is open."""

    def begin_snapshot(self) -> None:
        """Begin a transaction that only reads: every query inside sees the same state."""

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Commit what is done inside, or nothing; inside a transaction, leave both to that one."""
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
        """Have every query inside see the same state; inside a transaction that writes, its own."""
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
        """Inside a transaction: keep every other writer out until its end."""

    def problems(self) -> list[str]:
        """Return what the database itself finds wrong with its file."""

    def close(self) -> None:
        """Close the connection; an open transaction is undone."""


def conflict(error: object = "") -> ConflictError:
    """Return the error of a transaction that another writer came before."""
    reason = f": {error}" if error else ""
    return ConflictError(f"the account ledger was changed by another writer meanwhile{reason}", "do the transaction again")


def placeholders(columns: Iterable[str]) -> str:
    """Return `?, ?, ...` for columns."""
    return ", ".join("?" for _ in columns)
