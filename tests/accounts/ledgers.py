"""Account ledgers for tests: the same ones on SQLite and on PostgreSQL, and short ways to say what happens in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.accounts import AccountLedger, LedgerRefusal, NewOrder, OrderFill, open_account_ledger
from pumpwatch.accounts.check import PROVED
from tests.postgres_server import PostgresServer, sql

BOTH = ("sqlite", "postgres")
FUTURES, SPOT, SYMBOL = "one.futures", "one.spot", "SOMIUSDT"
SCHEMAS = count(1)
ACCOUNT = "acc"


@pytest.fixture(scope="module")
def ledger_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a PostgreSQL database for the ledgers of one module, each in a schema of its own."""
    name = postgres_server.create_database()
    yield postgres_server.dsn(name)
    postgres_server.sql(f"DROP DATABASE {name} WITH (FORCE)")


def new_place(kind: str, folder: Path, request: pytest.FixtureRequest) -> str | Path:
    """Return the place of a ledger that does not exist yet."""
    if kind == "sqlite":
        return folder / f"ledger{next(SCHEMAS)}.sqlite3"
    dsn, name = request.getfixturevalue("ledger_database"), f"ledger{next(SCHEMAS)}"
    sql(dsn, f"CREATE SCHEMA {name}")
    return f"{dsn}?options=-csearch_path%3D{name}"


@pytest.fixture(params=BOTH)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """The place of a new ledger, on both databases."""
    return new_place(request.param, tmp_path, request)


@pytest.fixture
def ledger(place: str | Path) -> Iterator[AccountLedger]:
    """A new ledger on both databases, with an account `acc` that has 1,000 USDT."""
    with open_account_ledger(place) as found:
        fund(found)
        yield found


@pytest.fixture
def sqlite_ledger(tmp_path: Path) -> Iterator[AccountLedger]:
    """The same in a file."""
    with open_account_ledger(tmp_path / "ledger.sqlite3") as found:
        fund(found)
        yield found


def fund(ledger: AccountLedger, account_id: str = ACCOUNT, money: str = "1000") -> None:
    """Open an account of the user `tester` with some money."""
    user = ledger.create_user("tester", user_id="user-1", at_ns=1)
    ledger.open_account(user, account_id=account_id, at_ns=1)
    ledger.transfer(account_id, Decimal(money), "deposit", 2)


def order(order_id: str = "o1", side: str = "buy", quantity: str = "10", price: str | None = "2", **facts: Any) -> NewOrder:
    """Return an order of SYMBOL: a limit order on the spot market, unless the facts say otherwise."""
    facts = {"venue": SPOT, "kind": "limit" if price else "market", "at_ns": 10, **facts}
    return NewOrder(order_id=order_id, symbol=SYMBOL, side=side, quantity=Decimal(quantity),
                    price=Decimal(price) if price else None, **facts)


def fill(fill_id: str = "f1", price: str = "2", quantity: str = "10", fee: str = "0", at_ns: int = 20) -> OrderFill:
    """Return a fill."""
    return OrderFill(fill_id=fill_id, price=Decimal(price), quantity=Decimal(quantity), fee=Decimal(fee), liquidity="taker",
                     at_ns=at_ns)


def traded(ledger: AccountLedger, name: str, side: str, quantity: str, price: str, fee: str = "0", **facts: Any) -> None:
    """Place an order and fill all of it."""
    ledger.place_order(ACCOUNT, order(name, side, quantity, price, **facts))
    ledger.fill_order(name, fill(f"fill-{name}", price, quantity, fee))


def figures(ledger: AccountLedger, account_id: str = ACCOUNT) -> tuple[Decimal, Decimal, Decimal]:
    """Return (balance, available, locked) of an account's asset."""
    account, = ledger.accounts(account_id)
    return account.balance, account.available, account.locked


def refused(kind: type[LedgerRefusal], ledger: AccountLedger, command: Callable[[], object], said: str = "") -> None:
    """Assert that a command is refused and that nothing is changed by it."""
    before = everything(ledger)
    with pytest.raises(kind, match=said or None):
        command()
    assert everything(ledger) == before


def everything(ledger: AccountLedger) -> list[object]:
    """Return all rows of a ledger."""
    return [ledger.accounts(), ledger.orders(), ledger.positions(), ledger.fills(), ledger.transfers(),
            ledger.events(limit=10**6)]


def failures(ledger: AccountLedger) -> list[str]:
    """Return the failed findings of `check`, after a look at its passed ones."""
    found = ledger.check()
    assert {finding.name for finding in found} == set(PROVED)
    return [f"{finding.name}: {finding.detail}" for finding in found if finding.state != "ok"]


def whole(ledger: AccountLedger) -> None:
    """Assert that a ledger is proved, and that its tables made again from its events are the same."""
    assert failures(ledger) == []
    before = everything(ledger)
    assert ledger.rebuild() == len(ledger.events(limit=10**6))
    assert everything(ledger) == before


def tampered(ledger: AccountLedger, statement: str) -> None:
    """Change a ledger behind its back."""
    with suppress(AttributeError):
        ledger.database.connection.execute("PRAGMA foreign_keys=0")  # type: ignore[attr-defined]
    ledger.database.execute(statement)
