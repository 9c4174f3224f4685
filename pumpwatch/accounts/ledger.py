"""The interface of the account ledger: commands that append events, and queries of the resulting state."""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pumpwatch.accounts import check, decisions, queries, schema
from pumpwatch.accounts.amounts import ZERO
from pumpwatch.accounts.database import Database
from pumpwatch.accounts.records import (
    CANCELLED,
    EXPIRED,
    REJECTED,
    Account,
    Event,
    HeldPosition,
    NewOrder,
    Order,
    OrderFill,
    Position,
    StoredFill,
    Transfer,
)
from pumpwatch.accounts.refusals import ConflictError
from pumpwatch.accounts.unit import Unit
from pumpwatch.findings import Finding

log = logging.getLogger(__name__)

FILE_NAME = "paper_ledger.sqlite3"
TRIES = 8  # of a transaction that conflicts with another writer
PAUSE_S = 0.01  # before the second try; later pauses are longer

T = TypeVar("T")


def is_dsn(place: str | Path) -> bool:
    """Return whether a place is the address of a PostgreSQL database and not a file."""
    return str(place).startswith(("postgresql://", "postgres://"))


def open_account_ledger(place: str | Path, *, read_only: bool = False) -> AccountLedger:
    """Open a ledger: a file, which is created if missing, or `postgresql://...`. The result is a context manager.

    Raises StorageError if the file is damaged, locked or on a full disk, NewerLedgerError if a newer version wrote it,
    ConfigError without the extra `postgres`, and ServiceUnavailable if the server does not answer.
    """
    database: Database
    if is_dsn(place):
        from pumpwatch.accounts.postgres_database import PostgresDatabase

        database = PostgresDatabase(str(place), read_only=read_only)
    else:
        from pumpwatch.accounts.sqlite_database import SqliteDatabase

        database = SqliteDatabase(Path(place), read_only=read_only)
    try:
        schema.bring_up_to_date(database)
    except BaseException:
        database.close()
        raise
    return AccountLedger(database)


class AccountLedger:
    """One connection to a ledger; use it from one thread. Several processes may write to one ledger.

    A command is checked first: a refused one (LedgerRefusal) changes nothing, even inside a transaction. Its event and the
    changes of the event are committed together. Inside `transaction`, all commands are committed together; a query first writes
    them to the open transaction, so that it sees them. A duplicate id of an order, fill or transfer is detected only by that
    writing; then the whole transaction is refused.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.conflicts = 0  # transactions that conflicted with another writer
        self._unit: Unit | None = None  # of the open transaction

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Uncommitted changes are lost."""
        self.database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all commands inside together, or none if an error leaves the block. A nested transaction joins the outer one.

        Raises ConflictError at the end if another writer has changed one of the accounts meanwhile: repeat the whole transaction,
        or use `retried`.
        """
        if self._unit is not None:
            yield
            return
        self._unit = Unit(self.database)
        try:
            yield
            self._unit.commit()
        except BaseException as error:
            self._unit.roll_back()
            self.conflicts += isinstance(error, ConflictError)
            raise
        finally:
            self._unit = None

    def retried(self, work: Callable[[], T], tries: int = TRIES) -> T:
        """Return the result of `work`, which runs in a transaction, and again after a conflict with another writer.

        `work` must not use anything that it read in an earlier try. Raises ConflictError after the last try.
        """
        if self._unit is not None:
            return work()
        for number in range(1, tries + 1):
            try:
                with self.transaction():
                    return work()
            except ConflictError as error:
                if number == tries:
                    raise ConflictError(f"{error.message}, {tries} times in a row", error.hint) from error
                log.info("account ledger conflict with another writer, trying again try=%d", number)
                time.sleep(random.uniform(0.5, 1.5) * PAUSE_S * number)
        raise ValueError("tries must be at least 1")

    def _do(self, decide: Callable[[Unit], T]) -> T:
        """Carry out one command, in the open transaction or in a new one."""
        def work() -> T:
            assert self._unit is not None
            return decide(self._unit)

        return self.retried(work)

    # commands

    def create_user(self, name: str, *, user_id: str = "", at_ns: int | None = None) -> str:
        """Return the id of the user with this name; create the user if there is none. at_ns: default now."""
        at = time.time_ns() if at_ns is None else at_ns
        return self._do(lambda unit: decisions.create_user(unit, user_id or uuid.uuid4().hex, name, at))

    def open_account(self, user_id: str, asset: str = "USDT", name: str = "", *, account_id: str = "",
                     at_ns: int | None = None) -> str:
        """Open an empty account and return its id. Raises UnknownId, DuplicateId."""
        at = time.time_ns() if at_ns is None else at_ns
        return self._do(lambda unit: decisions.open_account(unit, account_id or uuid.uuid4().hex, user_id, asset, name, at))

    def transfer(self, account_id: str, amount: Decimal, reason: str, at_ns: int, *, asset: str = "",
                 transfer_id: str = "") -> str:
        """Move money from the world (amount > 0) or to it (amount < 0), and return the transfer's id. Raises Overdraft.

        asset: default the account's. transfer_id: default built from the account's id and version.
        """
        return self._do(lambda unit: decisions.transfer(unit, account_id, amount, reason, at_ns, asset, transfer_id))

    def place_order(self, account_id: str, order: NewOrder) -> Order:
        """Place an order and lock its maximum cost. A stop limit order waits until `trigger_order`.

        In the account's asset, a spot purchase locks price x quantity, and a futures order locks price x quantity / leverage of
        the part that opens a position; both also lock `fee_reserve`. A spot sale locks the quantity itself. A market order
        without a price locks only its reserve. Raises Overdraft, InvalidValue, DuplicateId, WrongState.
        """
        return self._do(lambda unit: decisions.place_order(unit, account_id, order))

    def trigger_order(self, order_id: str, at_ns: int) -> Order:
        """Open a waiting stop limit order. Raises WrongState."""
        return self._do(lambda unit: decisions.trigger_order(unit, order_id, at_ns))

    def fill_order(self, order_id: str, fill: OrderFill) -> Order:
        """Execute a part of an order: update money, fee, position, realised PnL. Raises Overdraft, WrongState, DuplicateId.

        A reduce-only order never opens a position, and a fill never exceeds the rest of its order.
        """
        return self._do(lambda unit: decisions.fill_order(unit, order_id, fill))

    def cancel_order(self, order_id: str, reason: str, at_ns: int) -> Order:
        """Cancel an order and unlock the rest of its money. Raises WrongState if it has ended."""
        return self._do(lambda unit: decisions.end_order(unit, order_id, CANCELLED, reason, at_ns))

    def reject_order(self, order_id: str, reason: str, at_ns: int) -> Order:
        """End an order that its venue rejected. Raises WrongState if it has ended."""
        return self._do(lambda unit: decisions.end_order(unit, order_id, REJECTED, reason, at_ns))

    def expire_order(self, order_id: str, reason: str, at_ns: int) -> Order:
        """End an order that expired: the rest of an ioc order, or a fok order that cannot be filled. Raises WrongState."""
        return self._do(lambda unit: decisions.end_order(unit, order_id, EXPIRED, reason, at_ns))

    def mark_position(self, account_id: str, venue: str, symbol: str, mark_price: Decimal, at_ns: int) -> Position:
        """Value a position at a price: update unrealised PnL and liquidation price. Raises WrongState without a position."""
        return self._do(lambda unit: decisions.mark_position(unit, account_id, venue, symbol, mark_price, at_ns))

    def liquidate_position(self, account_id: str, venue: str, symbol: str, price: Decimal, at_ns: int, *,
                           fee: Decimal = ZERO) -> Position:
        """Close a whole futures position at a price. Raises WrongState.

        The account loses at most the margin; with cross margin, at most the margin and the available balance. The counterparty
        bears the rest of a loss.
        """
        return self._do(lambda unit: decisions.liquidate_position(unit, account_id, venue, symbol, price, fee, at_ns))

    # queries

    def _asked(self) -> Database:
        if self._unit is not None:
            self._unit.flush()
        return self.database

    def accounts(self, account_id: str | None = None, user_id: str | None = None) -> list[Account]:
        """Return accounts, oldest first."""
        return queries.accounts(self._asked(), account_id, user_id)

    def orders(self, account_id: str | None = None, state: str | None = None, *, venue: str | None = None,
               symbol: str | None = None, limit: int | None = None) -> list[Order]:
        """Return orders, oldest first; with a limit, the last ones."""
        return queries.orders(self._asked(), account_id, state, venue, symbol, limit)

    def positions(self, account_id: str | None = None, *, flat: bool = True) -> list[HeldPosition]:
        """Return positions by account, venue and symbol. flat: include closed ones."""
        return queries.positions(self._asked(), account_id, flat)

    def fills(self, account_id: str | None = None, order_id: str | None = None, *, limit: int | None = None) -> list[StoredFill]:
        """Return fills, oldest first; with a limit, the last ones."""
        return queries.fills(self._asked(), account_id, order_id, limit)

    def transfers(self, account_id: str | None = None, *, limit: int | None = None) -> list[Transfer]:
        """Return transfers, oldest first; with a limit, the last ones."""
        return queries.transfers(self._asked(), account_id, limit)

    def events(self, aggregate_id: str | None = None, after: int = 0, limit: int = 1000) -> list[Event]:
        """Return events after a position in the ledger, in order: of one user or account, or all."""
        return queries.events(self._asked(), aggregate_id, after, limit)

    def check(self) -> list[Finding]:
        """Return a finding for each check; a failed one has state `fail` and says where."""
        return check.check(self._asked())

    def rebuild(self) -> int:
        """Rebuild all tables but the events from the events, in one transaction; return the number of events."""
        return check.rebuild(self._asked())
