"""Check an account ledger against its events, and rebuild its tables from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from pumpwatch.accounts import tables
from pumpwatch.accounts.amounts import ZERO, total
from pumpwatch.accounts.database import Database
from pumpwatch.accounts.records import ACCOUNT
from pumpwatch.accounts.refusals import DamagedLedgerError
from pumpwatch.accounts.replay import Replay, replays
from pumpwatch.findings import FAIL, OK, Finding

REPORTED = 5  # faults of one subject that are reported one by one
PROVED = {
    "database": "its pages are sound",
    "events": "every event can be applied",
    "versions": "no version is skipped",
    "entries": "the entries of each event sum to zero",
    "balances": "each is the sum of its entries, and at least the locked amount",
    "projections": "every row agrees with the events",
}
HINTS = {"projections": "the events are authoritative; the ledger's `rebuild` rebuilds the rows from them",
         "balances": "the events are authoritative; the ledger's `rebuild` rebuilds the balances from them"}
AMOUNT_PLACES = {table: [column in tables.AMOUNTS for column in columns] for table, columns in tables.COLUMNS.items()}


class _Faults:
    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {name: [] for name in PROVED}
        self.count = dict.fromkeys(PROVED, 0)

    def add(self, name: str, words: str) -> None:
        self.count[name] += 1
        if len(self.found[name]) < REPORTED:
            self.found[name].append(words)

    def findings(self, counted: str) -> list[Finding]:
        rows = []
        for name, proved in PROVED.items():
            if not self.count[name]:
                rows.append(Finding(name, OK, f"{counted}: {proved}" if name == "events" else proved))
                continue
            more = self.count[name] - len(self.found[name])
            rows += [Finding(name, FAIL, words, HINTS.get(name, "") if number == 0 else "")
                     for number, words in enumerate(self.found[name])]
            rows += [Finding(name, FAIL, f"and {more:,} more")] if more else []
        return rows


def check(database: Database) -> list[Finding]:
    """Return the findings: at least one per subject of PROVED, with state `fail` if something is wrong. Changes nothing.

    The whole check sees one state of the ledger, even if others write to it meanwhile. Memory holds the rows of one account.
    """
    faults, counts = _Faults(), {"events": 0, "accounts": 0}
    with database.snapshot():
        try:
            for words in database.problems():
                faults.add("database", words)
            _prove(database, faults, counts)
        except DamagedLedgerError as error:
            faults.add("database", error.message)
    return faults.findings(f"{counts['events']:,} events, {counts['accounts']:,} accounts")


def _prove(database: Database, faults: _Faults, counts: dict[str, int]) -> None:
    seen: dict[str, int] = dict.fromkeys((*tables.KEYS, "users"), 0)
    for replay in replays(database):
        counts["events"] += replay.events
        counts["accounts"] += replay.state is not None
        for name, words in replay.faults:
            faults.add(name, words)
        if replay.user is not None:
            seen["users"] += 1
            stored = [tuple(row) for row in database.rows(tables.select("users", "WHERE user_id = ?"), [replay.aggregate_id])]
            if stored != [tuple(replay.user)]:
                faults.add("projections", f"users: {replay.aggregate_id} differs from its event")
        elif not replay.broken:
            _compare(database, replay, faults, seen)
    if any(faults.count[name] for name in ("events", "versions")):
        return
    for table, rows in seen.items():
        (count,), = database.rows(f"SELECT count(*) FROM {table}")
        if count > rows:
            faults.add("projections", f"{table}: {count - rows:,} rows belong to no event")


def _compare(database: Database, replay: Replay, faults: _Faults, seen: dict[str, int]) -> None:
    account = replay.aggregate_id
    balances: Mapping[Any, Sequence[Any]] | None = None  # None: one of them cannot be read
    for table, wanted in replay.rows().items():
        keys = tables.KEYS[table]
        try:
            rows = database.rows(tables.select(table, "WHERE account_id = ?"), [account])
            seen[table] += len(rows)
            stored = {row[:keys]: row for row in (_exact(table, row) for row in rows)}
        except DamagedLedgerError as error:
            faults.add("projections", f"{table} of {account}: {error.message}")
            continue
        expected = {row[:keys]: row for row in (_exact(table, row) for row in wanted)}
        for key in dict.fromkeys((*expected, *stored)):
            if expected.get(key) != stored.get(key):
                difference = _difference(table, expected.get(key), stored.get(key))
                faults.add("projections", f"{table}: {' '.join(map(str, key))} {difference}")
        if table == "balances":
            balances = stored
        elif table == "entries" and balances is not None:
            _balanced(account, balances.values(), stored.values(), faults)


def _balanced(account: str, balances: Iterable[Sequence[Any]], entries: Iterable[Sequence[Any]], faults: _Faults) -> None:
    """Compare the stored balances of an account with the sums of its stored entries."""
    summed: dict[str, Decimal] = {}
    for _, _, _, book, asset, moved in entries:
        if book == ACCOUNT:
            summed[asset] = total(summed.get(asset, ZERO), moved)
    for _, asset, balance, available, locked in balances:
        if balance != summed.pop(asset, ZERO):
            faults.add("balances", f"{account}: {balance:f} {asset} is not the sum of its entries")
        if balance != total(available, locked) or available < 0 or locked < 0:
            faults.add("balances", f"{account}: {available:f} available and {locked:f} locked of {balance:f} {asset}")
    for asset, moved in summed.items():
        if moved:
            faults.add("balances", f"{account}: {moved:f} {asset} by its entries, but no balance in that asset")


def _exact(table: str, row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(tables.exact(value) if is_amount and value is not None else value
                 for value, is_amount in zip(row, AMOUNT_PLACES[table], strict=True))


def _difference(table: str, expected: Sequence[Any] | None, stored: Sequence[Any] | None) -> str:
    if stored is None:
        return "is missing"
    if expected is None:
        return "comes from no event"
    return "; ".join(f"{column} is {have}, its events say {want}" for column, want, have in
                     zip(tables.COLUMNS[table], expected, stored, strict=True) if want != have)


def rebuild(database: Database) -> int:
    """Rebuild all rows but the events, in one transaction that locks out other writers; return the number of events.

    Raises DamagedLedgerError if an event cannot be applied; then nothing is changed.
    """
    count = 0
    with database.writing():
        database.lock_out()
        found = list(_rows_of_events(database))
        for table in ("entries", "transfers", "fills", "positions", "orders", "balances", "accounts", "users"):
            database.execute(f"DELETE FROM {table}")
        for events, rows in found:
            count += events
            for table, added in rows.items():
                if added:
                    database.many(tables.insert(table), added)
    return count


def _rows_of_events(database: Database) -> Iterable[tuple[int, dict[str, list[Sequence[Any]]]]]:
    users, accounts = [], []
    for replay in replays(database):
        if replay.broken or any(name == "versions" for name, _ in replay.faults):
            raise DamagedLedgerError(f"the account ledger cannot be rebuilt: {replay.faults[0][1]}", "restore it from a backup")
        if replay.user is not None:
            users.append((replay.events, {"users": [replay.user]}))
        else:
            accounts.append((replay.events, replay.rows()))
    return [*users, *accounts]
