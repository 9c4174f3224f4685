"""The ledger of minutes: figures of the stored trades of every instrument and minute, in `coverage.sqlite`.

It keeps the figures of the trades (`minutes.py`), the stored ids (`id_runs.py`), and the watched symbols of each time. It
outlives the journal's segments: trades are counted here before their segment expires. States such as `complete` or `gap` are not
stored: they follow from these figures and the gaps of the ledger, see `ops.minute_states`.

A write is one durable transaction that also moves `counted_upto`, so no batch is counted twice or left out.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import StorageError
from pumpwatch.model import Instrument
from pumpwatch.store import coverage_hours
from pumpwatch.store.coverage_hours import Hour
from pumpwatch.store.id_runs import IdRuns, union
from pumpwatch.store.minutes import HOUR_MINUTES, MINUTE_NS, Minutes, joined
from pumpwatch.store.sqlite import (
    DAMAGED,
    DamagedError,
    connect,
    is_damage,
    make_durable,
    make_private,
    private_folder,
    storage_error,
    transaction,
)
from pumpwatch.store.sqlite_library import Database, Migrations

FILE_NAME = "coverage.sqlite"
HOUR_NS = HOUR_MINUTES * MINUTE_NS
SUMS_KEPT_HOURS, COUNTS_KEPT_HOURS = 30 * 24, 400 * 24
Venue = tuple[str, str]  # exchange, market type

migrations = Migrations("coverage")


@migrations()
def first(db: Database) -> None:
    """Create the first schema."""
    db.create_table("hours", {"exchange": str, "market_type": str, "hour": int, "counts": bytes, "sums": bytes},
                    pk=("exchange", "market_type", "hour"))
    db.create_table("progress", {"key": str, "value": int}, pk="key")
    db.create_table("watched", {"exchange": str, "market_type": str, "from_ns": int, "digest": str},
                    pk=("exchange", "market_type", "from_ns"))
    db.create_table("watched_symbols", {"digest": str, "symbols": str}, pk="digest")


@dataclass(frozen=True, slots=True)
class Watched:
    """The watched symbols of a venue, from `from_ns` until the venue's next entry."""

    exchange: str
    market_type: str
    from_ns: int
    symbols: frozenset[str]


class CoverageFile:
    """The file of a data folder. Every method blocks briefly; use it from one thread at a time.

    Methods raise StorageError if the disk fails and DamagedError if the file is broken. With `read_only` a missing file counts
    as an empty one.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.path = folder / FILE_NAME
        self._connection: sqlite3.Connection | None = None
        if read_only and not self.path.exists():
            return
        with self._guard("open"):
            if not read_only:
                private_folder(folder)
                make_private(self.path)
            self._connection = connect(self.path, read_only=read_only)
            try:
                if not read_only:
                    make_durable(self._connection)
                    self._migrate(self._connection)
            except BaseException:
                self.close()
                raise

    def _migrate(self, connection: sqlite3.Connection) -> None:
        db = Database(connection)
        newer = {step.name for step in migrations.applied(db)} - {step.name for step in migrations._migrations}
        if newer:
            raise StorageError(f"{self.path}: written by a newer pumpwatch (it knows {', '.join(sorted(newer))})",
                               "run that version, or give another store.dir")
        migrations.apply(db)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _guard(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.Error) and is_damage(error):
                raise DamagedError(f"{self.path}: the ledger of minutes is damaged: {doing} failed: {error}",
                                   "a running collector rebuilds it from the journal") from error
            raise storage_error(self.path, doing, error) from error

    @property
    def counted_upto(self) -> int:
        """The last batch of the journal that is counted, 0 before the first."""
        return self._number("counted_upto")

    @property
    def counted_at_ns(self) -> int:
        """The time in ns up to which everything stored is counted, 0 before the first count."""
        return self._number("counted_at_ns")

    def _number(self, key: str) -> int:
        rows = self._rows("SELECT value FROM progress WHERE key = ?", (key,))
        return int(rows[0][0]) if rows else 0

    def add(self, minutes: Minutes, runs: IdRuns, catalogue: Catalogue, upto_id: int, at_ns: int = 0) -> None:
        """Add the figures of the batches up to `upto_id`. at_ns: everything stored at that time is now counted; 0: unknown."""
        parts = _by_hour(minutes, runs, catalogue)
        with self._writing() as connection:
            for (venue, hour), part in parts.items():
                self._add_hour(connection, venue, hour, part, catalogue)
            values = {"counted_upto": upto_id} | ({"counted_at_ns": at_ns} if at_ns else {})
            connection.executemany("INSERT OR REPLACE INTO progress VALUES (?, ?)", list(values.items()))

    def _add_hour(self, connection: sqlite3.Connection, venue: Venue, hour: int, part: Hour, catalogue: Catalogue) -> None:
        row = connection.execute("SELECT counts, sums FROM hours WHERE exchange = ? AND market_type = ? AND hour = ?",
                                 (*venue, hour)).fetchone()
        if row is not None:
            try:
                known = _decode(venue, hour, row, catalogue)
            except StorageError as error:
                raise DamagedError(f"{self.path}: {error.message}") from error
            part = Hour(joined([known.minutes, part.minutes]), union([known.runs, part.runs]), known.thin)
        symbols = {number: catalogue.instruments[number].symbol
                   for number in {*part.minutes.instrument.tolist(), *part.runs.instrument.tolist()}}
        connection.execute("INSERT OR REPLACE INTO hours VALUES (?, ?, ?, ?, ?)",
                           (*venue, hour, *coverage_hours.encode(part, symbols, hour)))

    def begin_again(self, from_ns: int) -> None:
        """Forget the figures since `from_ns`, because another journal is in the folder and is counted from its beginning."""
        with self._writing() as connection:
            connection.execute("DELETE FROM hours WHERE hour >= ?", (from_ns // HOUR_NS,))
            connection.execute("DELETE FROM progress")

    def read(self, start_ns: int, end_ns: int, catalogue: Catalogue, venues: Sequence[Venue] | None = None) -> Hour:
        """Return the figures of the hours that overlap [start_ns, end_ns), of all venues or of the given ones.

        New symbols are added to `catalogue`. An unreadable hour raises DamagedError.
        """
        found: list[Hour] = []
        for venue in self.venues() if venues is None else venues:
            for hour, counts, sums in self._rows(
                    "SELECT hour, counts, sums FROM hours WHERE exchange = ? AND market_type = ? AND hour >= ? AND hour < ?",
                    (*venue, start_ns // HOUR_NS, -(-end_ns // HOUR_NS))):
                try:
                    found.append(_decode(venue, hour, (counts, sums), catalogue))
                except StorageError as error:
                    raise DamagedError(f"{self.path}: {error.message}") from error
        return Hour(joined([hour.minutes for hour in found]), union([hour.runs for hour in found]),
                    any(hour.thin for hour in found))

    def venues(self) -> list[Venue]:
        """Return the venues with figures or watched symbols."""
        return self._rows("SELECT exchange, market_type FROM hours UNION SELECT exchange, market_type FROM watched ORDER BY 1, 2")

    def watch(self, venue: Venue, symbols: frozenset[str], at_ns: int) -> None:
        """Record a venue's watched symbols from `at_ns` on."""
        text = msgspec.json.encode(sorted(symbols)).decode()
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO watched_symbols VALUES (?, ?)", (digest, text))
            connection.execute("INSERT OR REPLACE INTO watched VALUES (?, ?, ?, ?)", (*venue, at_ns, digest))

    def watched(self) -> list[Watched]:
        """Return the watched symbols, by venue, oldest first."""
        sets = {digest: frozenset(msgspec.json.decode(text, type=list[str]))
                for digest, text in self._rows("SELECT digest, symbols FROM watched_symbols")}
        return [Watched(exchange, market_type, from_ns, sets.get(digest, frozenset()))
                for exchange, market_type, from_ns, digest in self._rows(
                    "SELECT exchange, market_type, from_ns, digest FROM watched ORDER BY exchange, market_type, from_ns")]

    def thin(self, now_ns: int) -> None:
        """Drop the sums of hours older than SUMS_KEPT_HOURS, and all figures of hours older than COUNTS_KEPT_HOURS."""
        hour = now_ns // HOUR_NS
        with self._writing() as connection:
            connection.execute("UPDATE hours SET sums = x'' WHERE hour < ? AND sums != x''", (hour - SUMS_KEPT_HOURS,))
            connection.execute("DELETE FROM hours WHERE hour < ?", (hour - COUNTS_KEPT_HOURS,))
            before_ns = (hour - COUNTS_KEPT_HOURS) * HOUR_NS
            connection.execute(
                "DELETE FROM watched WHERE from_ns < ? AND from_ns < (SELECT max(w.from_ns) FROM watched w WHERE w.exchange ="
                " watched.exchange AND w.market_type = watched.market_type AND w.from_ns < ?)", (before_ns, before_ns))
            connection.execute("DELETE FROM watched_symbols WHERE digest NOT IN (SELECT digest FROM watched)")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if self._connection is None:
            raise StorageError(f"{self.path}: the ledger of minutes is not open")
        with self._guard("write"), transaction(self._connection):
            yield self._connection

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        if self._connection is None:
            return []
        with self._guard("read"):
            return self._connection.execute(sql, values).fetchall()


def set_aside(folder: Path, now_ns: int) -> Path:
    """Rename a damaged file to make room for a new one; return its new path. Raises StorageError."""
    path = folder / FILE_NAME
    aside = path.with_name(f"{FILE_NAME}.damaged-{now_ns}")
    try:
        for suffix in ("-wal", "-shm"):
            path.with_name(FILE_NAME + suffix).unlink(missing_ok=True)
        path.rename(aside)
    except OSError as error:
        raise storage_error(path, "set aside", error) from error
    return aside


def _decode(venue: Venue, hour: int, row: tuple[bytes, bytes], catalogue: Catalogue) -> Hour:
    try:
        symbols = coverage_hours.symbols_in(*row)
        numbers = {symbol: catalogue.add_if_new(venue, Instrument(symbol=symbol, base="", quote="")) for symbol in symbols}
        return coverage_hours.decode(*row, numbers, hour)
    except DAMAGED as error:
        raise StorageError(f"an hour of the ledger of minutes is damaged: {error}") from error


def _by_hour(minutes: Minutes, runs: IdRuns, catalogue: Catalogue) -> Mapping[tuple[Venue, int], Hour]:
    """Split figures by venue and hour. A run that crosses hours belongs to the hour of its first id."""
    venues = sorted(set(catalogue.venues))
    number_of = {venue: number for number, venue in enumerate(venues)}
    venue_of = np.array([number_of[venue] for venue in catalogue.venues], np.int64)
    cells = venue_of[minutes.instrument] << 32 | minutes.minute // HOUR_MINUTES
    places = venue_of[runs.instrument] << 32 | np.maximum(runs.first_ns, 0) // HOUR_NS
    return {(venues[place >> 32], place & 0xFFFF_FFFF): Hour(minutes.take(cells == place), runs.take(places == place))
            for place in sorted({*np.unique(cells).tolist(), *np.unique(places).tolist()})}
