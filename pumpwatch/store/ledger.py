"""What is known beside the trades: gaps, the lives of connections, quarantine, notices and listings.

One small SQLite file, `ledger.sqlite`, kept for ever. Every write is durable when it returns and harmless when
repeated, so a commit that fails half-way is simply tried again. One Ledger is one connection: each thread opens its
own.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils import Database, Migrations

from pumpwatch.errors import StorageError
from pumpwatch.model import Gap, GapState
from pumpwatch.records import KEPT_BYTES, ConnectionEvent, Quarantined, Records
from pumpwatch.store.listed import ListedRows, ListingRecord
from pumpwatch.store.sqlite import BUSY_MS, connect, make_durable, storage_errors, transaction

__all__ = ["FILE_NAME", "Ledger", "ListingRecord"]

FILE_NAME = "ledger.sqlite"
_SET = "ledger"

migrations = Migrations(_SET)


@migrations()
def first(db: Database) -> None:
    """Make the first schema."""
    db.create_table("gaps", {
        "id": int, "exchange": str, "market_type": str, "symbol": str, "from_ns": int, "to_ns": int, "first_id": int,
        "last_id": int, "reason": str, "state": str, "note": str}, pk="id")
    db.execute("CREATE UNIQUE INDEX gaps_key ON gaps "
               "(exchange, market_type, symbol, ifnull(first_id, -1), ifnull(last_id, -1), from_ns)")
    db.execute("CREATE INDEX gaps_state ON gaps (state)")
    db.create_table("connection_events", {
        "at_ns": int, "exchange": str, "market_type": str, "connection": int, "event": str, "reason": str},
        pk=("at_ns", "exchange", "market_type", "connection", "event"))
    db.create_table("quarantine", {
        "at_ns": int, "exchange": str, "market_type": str, "reason": str, "digest": int, "nth": int, "size": int,
        "payload": bytes}, pk=("at_ns", "exchange", "market_type", "reason", "digest", "nth"))
    db.create_table("notices", {
        "source": str, "notice_id": str, "title": str, "category": str, "published_at_ns": int, "updated_at_ns": int,
        "url": str, "verdict_kind": str, "revision": str}, pk=("source", "notice_id"))
    db.create_table("listings", {
        "source": str, "notice_id": str, "symbol": str, "title": str, "announced_at_ns": int, "detected_at_ns": int,
        "triggered_at_ns": int, "needs_body": int, "archive": str, "trades": int},
        pk=("source", "notice_id", "symbol"))


@migrations()
def gaps_by_time(db: Database) -> None:
    """A window asks for the gaps around it, of all there ever were."""
    db.execute("CREATE INDEX gaps_time ON gaps (to_ns, from_ns)")


@migrations()
def listing_problems(db: Database) -> None:
    """A listing can be known and have no archive, for a reason."""
    db.execute("ALTER TABLE listings ADD COLUMN problem TEXT NOT NULL DEFAULT ''")


class Ledger(ListedRows):
    """The ledger file of a data folder. Every method blocks shortly and raises StorageError when the disk refuses."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        with self._guard("open"):
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = connect(self.path)
            try:
                make_durable(self._connection)
                self._connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
                self._migrate()
            except BaseException:
                self._connection.close()
                raise

    def _migrate(self) -> None:
        db = Database(self._connection)
        known = {step.name for step in migrations.pending(db)} | {step.name for step in migrations.applied(db)}
        newer = {step.name for step in migrations.applied(db)} - {step.name for step in migrations._migrations}
        if newer:
            raise StorageError(f"{self.path}: written by a newer pumpwatch (it knows {', '.join(sorted(newer))})",
                               "run that version, or give another store.dir")
        if known and migrations.pending(db):
            migrations.apply(db)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def write(self, records: Records) -> None:
        """Store all of it or nothing. Writing the same records again changes nothing."""
        with self._guard("write"), transaction(self._connection):
            self._write_gaps(records.gaps)
            self._connection.executemany(
                "INSERT OR IGNORE INTO connection_events VALUES (?, ?, ?, ?, ?, ?)",
                [(e.at_ns, e.exchange, e.market_type, e.connection, e.event, e.reason)
                 for e in records.connection_events])
            self._write_quarantine(records.quarantine)

    def _write_gaps(self, gaps: Sequence[Gap]) -> None:
        # A gap told again with a later end has grown, and is open again; told again as filled or lost, it is settled.
        self._connection.executemany(
            "INSERT INTO gaps (exchange, market_type, symbol, from_ns, to_ns, first_id, last_id, reason, state, note)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '') ON CONFLICT DO UPDATE SET"
            " to_ns = max(to_ns, excluded.to_ns), state = excluded.state"
            " WHERE excluded.to_ns > to_ns OR excluded.state != 'open'",
            [(g.exchange, g.market_type, g.symbol, g.from_ns, g.to_ns, g.first_id, g.last_id, g.reason, g.state.value)
             for g in gaps])

    def _write_quarantine(self, rows: Sequence[Quarantined]) -> None:
        seen: Counter[tuple[int, str, str, str, int]] = Counter()
        values = []
        for row in rows:
            key = (row.at_ns, row.exchange, row.market_type, row.reason, zlib.crc32(row.payload))
            values.append((*key, seen[key], len(row.payload), row.payload[:KEPT_BYTES]))
            seen[key] += 1
        self._connection.executemany("INSERT OR IGNORE INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def gaps(self, state: GapState | None = None) -> list[tuple[int, Gap]]:
        """Return (id, gap), oldest first."""
        return self._gaps("WHERE state = ?", (state.value,)) if state else self._gaps("", ())

    def gaps_between(self, start_ns: int, end_ns: int) -> list[Gap]:
        """Return the gaps that have a moment in common with [start_ns, end_ns), oldest first."""
        return [gap for _, gap in self._gaps("WHERE to_ns > ? AND from_ns < ?", (start_ns, end_ns))]

    def _gaps(self, where: str, values: Sequence[object]) -> list[tuple[int, Gap]]:
        rows = self._rows("SELECT id, exchange, market_type, symbol, from_ns, to_ns, first_id, last_id, reason, state"
                          f" FROM gaps {where} ORDER BY from_ns, id", values)
        return [(row[0], Gap(exchange=row[1], market_type=row[2], symbol=row[3], from_ns=row[4], to_ns=row[5],
                             first_id=row[6], last_id=row[7], reason=row[8], state=GapState(row[9]))) for row in rows]

    def update_gap(self, gap_id: int, state: GapState, note: str = "") -> None:
        """Change a gap's state; the note says how it was filled or why it never can be."""
        self._change("UPDATE gaps SET state = ?, note = ? WHERE id = ?", (state.value, note, gap_id))

    def connection_events(self, since_ns: int = 0) -> list[ConnectionEvent]:
        """Return the events from a moment on, oldest first."""
        return [ConnectionEvent(*row) for row in self._rows(
            "SELECT * FROM connection_events WHERE at_ns >= ? ORDER BY at_ns", (since_ns,))]

    def quarantine(self, limit: int = 1000) -> list[Quarantined]:
        """Return the newest rows, oldest first."""
        rows = self._rows("SELECT at_ns, exchange, market_type, reason, payload FROM quarantine"
                          " ORDER BY at_ns DESC, nth DESC LIMIT ?", (limit,))
        return [Quarantined(*row) for row in reversed(rows)]

    def quarantine_count(self) -> int:
        """Return how many rows are kept."""
        return int(self._rows("SELECT count(*) FROM quarantine", ())[0][0])

    def notice_count(self, source: str) -> int:
        """Return how many notices of a source are known: 0 before its first poll."""
        return int(self._rows("SELECT count(*) FROM notices WHERE source = ?", (source,))[0][0])

    def prune(self, before_ns: int, keep_quarantine: int = 100_000) -> None:
        """Forget connection events and quarantine older than a moment, and all but the newest quarantine rows."""
        with self._guard("prune"), transaction(self._connection):
            self._connection.execute("DELETE FROM connection_events WHERE at_ns < ?", (before_ns,))
            self._connection.execute("DELETE FROM quarantine WHERE at_ns < ?", (before_ns,))
            self._connection.execute(
                "DELETE FROM quarantine WHERE rowid NOT IN (SELECT rowid FROM quarantine ORDER BY at_ns DESC LIMIT ?)",
                (keep_quarantine,))

    def _rows(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._guard("read"):
            return self._connection.execute(sql, values).fetchall()

    def _change(self, sql: str, values: Sequence[object]) -> int:
        with self._guard("write"), transaction(self._connection):
            return self._connection.execute(sql, values).rowcount

    @contextmanager
    def _guard(self, doing: str) -> Iterator[None]:
        with storage_errors(self.path, doing):
            yield
