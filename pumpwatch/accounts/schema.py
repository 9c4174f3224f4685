"""The tables of the account ledger as a list of migrations: each is applied once to a ledger, in this order, and never changed.

`{amount}` is an exact decimal of 36 digits, 18 of them decimals: text in SQLite, numeric(36,18) in PostgreSQL. `{number}` is a
64-bit integer, `{counter}` an auto-incremented key, and `{json}` a JSON document. Times are ns since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pumpwatch.accounts.database import Database
from pumpwatch.accounts.refusals import DamagedLedgerError, NewerLedgerError

CREATE_LIST = "CREATE TABLE IF NOT EXISTS ledger_migrations (name TEXT PRIMARY KEY)"


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: a permanent name, and statements separated by semicolons."""

    name: str
    sql: str


FIRST = Migration("first", """
CREATE TABLE events (position {counter}, aggregate_id TEXT NOT NULL, version {number} NOT NULL, kind TEXT NOT NULL,
    at_ns {number} NOT NULL, schema {number} NOT NULL, payload {json} NOT NULL, UNIQUE (aggregate_id, version));
CREATE INDEX events_time ON events (at_ns);
CREATE TABLE users (user_id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_at_ns {number} NOT NULL);
CREATE TABLE accounts (account_id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users (user_id), name TEXT NOT
    NULL, asset TEXT NOT NULL, opened_at_ns {number} NOT NULL, version {number} NOT NULL);
CREATE TABLE balances (account_id TEXT NOT NULL, asset TEXT NOT NULL, balance {amount} NOT NULL, available {amount}
    NOT NULL, locked {amount} NOT NULL, PRIMARY KEY (account_id, asset));
CREATE TABLE orders (order_id TEXT PRIMARY KEY, account_id TEXT NOT NULL, venue TEXT NOT NULL, symbol TEXT NOT NULL,
    base TEXT NOT NULL, side TEXT NOT NULL, kind TEXT NOT NULL, quantity {amount} NOT NULL, price {amount}, stop_price
    {amount}, time_in_force TEXT NOT NULL, reduce_only {number} NOT NULL, leverage {amount} NOT NULL, margin_type TEXT
    NOT NULL, fee_reserve {amount} NOT NULL, maintenance_rate {amount} NOT NULL, at_ns {number} NOT NULL, state TEXT
    NOT NULL, filled {amount} NOT NULL, value {amount} NOT NULL, fees {amount} NOT NULL, locked_asset TEXT NOT NULL,
    locked {amount} NOT NULL, reason TEXT NOT NULL, version {number} NOT NULL, changed_at_ns {number} NOT NULL);
CREATE INDEX orders_account ON orders (account_id, state);
CREATE INDEX orders_symbol ON orders (venue, symbol, state);
CREATE TABLE positions (account_id TEXT NOT NULL, venue TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
    quantity {amount} NOT NULL, cost {amount} NOT NULL, entry_price {amount} NOT NULL, mark_price {amount} NOT NULL,
    liquidation_price {amount}, margin {amount} NOT NULL, margin_type TEXT NOT NULL, leverage {amount} NOT NULL,
    maintenance_rate {amount} NOT NULL, realised_pnl {amount} NOT NULL, unrealised_pnl {amount} NOT NULL, fees
    {amount} NOT NULL, version {number} NOT NULL, changed_at_ns {number} NOT NULL, PRIMARY KEY (account_id, venue,
    symbol));
CREATE TABLE fills (fill_id TEXT PRIMARY KEY, order_id TEXT NOT NULL, account_id TEXT NOT NULL, venue TEXT NOT NULL,
    symbol TEXT NOT NULL, side TEXT NOT NULL, price {amount} NOT NULL, quantity {amount} NOT NULL, fee {amount} NOT
    NULL, liquidity TEXT NOT NULL, realised_pnl {amount} NOT NULL, at_ns {number} NOT NULL);
CREATE INDEX fills_order ON fills (order_id);
CREATE INDEX fills_account ON fills (account_id, at_ns);
CREATE TABLE transfers (transfer_id TEXT PRIMARY KEY, account_id TEXT NOT NULL, asset TEXT NOT NULL, amount {amount}
    NOT NULL, reason TEXT NOT NULL, at_ns {number} NOT NULL);
CREATE INDEX transfers_account ON transfers (account_id, at_ns);
CREATE TABLE entries (account_id TEXT NOT NULL, version {number} NOT NULL, number {number} NOT NULL, book TEXT NOT
    NULL, asset TEXT NOT NULL, amount {amount} NOT NULL, PRIMARY KEY (account_id, version, number))
""")
MIGRATIONS = (FIRST,)


def bring_up_to_date(database: Database, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Apply a ledger's missing migrations, in one transaction; only check them if the ledger is read only.

    Raises NewerLedgerError if the ledger has an unknown migration, DamagedLedgerError if a read-only ledger misses one.
    """
    known = [migration.name for migration in migrations]
    if _missing(database, known) == []:
        return
    if database.read_only:
        raise DamagedLedgerError(f"{database.name}: not an account ledger of this version", "`pumpwatch paper run` makes it one")
    with database.writing():
        database.lock_out()
        missing = _missing(database, known)
        if missing is None:
            database.execute(CREATE_LIST)
        for migration in migrations:
            if missing is None or migration.name in missing:
                for statement in migration.sql.split(";"):
                    database.execute(statement.format(**database.types))
                database.execute("INSERT INTO ledger_migrations VALUES (?)", [migration.name])


def _missing(database: Database, known: Sequence[str]) -> list[str] | None:
    """Return the migrations that were not applied yet; None if the ledger has no list of applied ones."""
    if not database.has_table("ledger_migrations"):
        return None
    applied = {str(name) for name, in database.rows("SELECT name FROM ledger_migrations")}
    if newer := sorted(applied - set(known)):
        raise NewerLedgerError(f"{database.name}: written by a newer pumpwatch (it knows {', '.join(newer)})",
                               "run that version, or name another ledger")
    return [name for name in known if name not in applied]
