"""The file of the store of candles: opened, brought up to date, set aside where it is damaged, and asked with the time taken."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pumpwatch.errors import ConfigError, StorageError
from pumpwatch.market.market_migrations import market_migrations
from pumpwatch.store.segment import companions
from pumpwatch.store.sqlite import (
    DamagedError,
    connect,
    is_damage,
    make_private,
    private_folder,
    storage_error,
    transaction,
)
from pumpwatch.store.sqlite_library import Database

log = logging.getLogger(__name__)

FILE_NAME = "market_data.sqlite3"
BUSY_MS = 2000  # a writer waits this long for another one's lock
SLOW_MS = 50.0
WRITER_CACHE_KB = 16_000  # the pages of 100,000 candles; with fewer they are written twice
DAMAGED_HINT = "the next start of a collector sets it aside and builds it again from the journal and the venues"
READER_HINT = ("a collector finds that when it starts, and while it runs within a minute to a week; it sets the file aside and"
               " builds it again. To have that now, start the collector again; if that does not help, move the file away first")


class NewerMarketFile(ConfigError):
    """Refuse to start: a newer version wrote the file, and this one would lose its additions."""


@dataclass(slots=True)
class Asked:
    """A query that was asked: one example of its values, how often, and its longest time."""

    values: tuple[Any, ...]
    times: int = 0
    worst_ms: float = 0.0
    slow: int = 0


class MarketFile:
    """One connection to the file. A writer sets a damaged file aside at the start and begins an empty one; a reader reports it.

    A reader whose file was replaced meanwhile raises StorageError instead of answering from the old file.
    """

    def __init__(self, path: Path, read_only: bool = False, busy_ms: int | None = None) -> None:
        self.path, self.read_only = path, read_only
        self.asked: dict[str, Asked] = {}
        self.set_aside: Path | None = None  # the damaged file that was here
        self._busy_ms = BUSY_MS if busy_ms is None and not read_only else busy_ms
        self.connection = self._open()
        with self.errors("open"):
            self._number = self.path.stat().st_ino

    def _open(self) -> sqlite3.Connection:
        try:
            with self.errors("open"):
                return self._connect()
        except DamagedError as error:
            if self.read_only:
                raise
            with self.errors("set aside"):
                self._set_aside(error)
            with self.errors("open"):
                return self._connect()

    def _connect(self) -> sqlite3.Connection:
        if not self.read_only:
            private_folder(self.path.parent)
            make_private(self.path)
            if self.damaged:
                raise self._damaged("read", "a page or block could not be read before")
        connection = connect(self.path, read_only=self.read_only, busy_ms=self._busy_ms)
        try:
            if not self.read_only:
                connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # of a new file; it changes nothing in another one
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")  # a power cut may take the last writes, with their marks
                # ids come from the table of series itself: asking it once a row would take a fifth of the time; `check` asks
                connection.execute("PRAGMA foreign_keys=0")
                connection.execute(f"PRAGMA cache_size=-{WRITER_CACHE_KB}")
                self._pages_fit(connection)
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _pages_fit(self, connection: sqlite3.Connection) -> None:
        """Raise DamagedError where the file is shorter than it says, or its tables cannot be read."""
        pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        log_file = self.path.with_name(self.path.name + "-wal")
        if pages * size > self.path.stat().st_size and not (log_file.exists() and log_file.stat().st_size):
            raise self._damaged("open", f"{pages} pages of {size} bytes are not all there")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()

    def _migrate(self, connection: sqlite3.Connection) -> None:
        db = Database(connection)
        known = [step.name for step in market_migrations._migrations]
        applied = {step.name for step in market_migrations.applied(db)}
        if applied - set(known):
            newer = ", ".join(sorted(applied - set(known)))
            raise NewerMarketFile(f"{self.path}: written by a newer pumpwatch (it knows {newer})",
                             "run that version, or move the file away")
        if self.read_only or applied == set(known):
            return
        try:
            market_migrations.apply(db)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # its tables contradict its list of migrations
                raise self._damaged("open", error) from error
            raise

    def migrations(self) -> list[str]:
        """Return the names of the applied migrations, in order."""
        with self.errors("read"):
            return [step.name for step in market_migrations.applied(Database(self.connection))]

    def _set_aside(self, error: DamagedError) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self.set_aside = self.path.with_name(f"{self.path.name}.damaged-{stamp}")
        for file in companions(self.path):
            if file.exists():
                file.replace(self.set_aside.with_name(self.set_aside.name + file.name.removeprefix(self.path.name)))
        self._mark.unlink(missing_ok=True)
        for older in self.path.parent.glob(f"{self.path.name}.damaged-*"):
            if not older.name.startswith(self.set_aside.name):
                older.unlink(missing_ok=True)  # one is enough to look into
        log.error("candles set aside, they are built again file=%s reason=%s", self.set_aside.name, error.message)

    def _damaged(self, doing: str, error: object) -> DamagedError:
        return DamagedError(f"{self.path}: the store of candles is damaged: {doing} failed: {error}",
                            READER_HINT if self.read_only else DAMAGED_HINT)

    @property
    def damaged(self) -> bool:
        """Return whether the file was found damaged, so that the next start sets it aside."""
        return self._mark.exists()

    @property
    def _mark(self) -> Path:
        return self.path.with_name(self.path.name + ".damaged")  # the next start sets the file aside

    def remember_damage(self) -> None:
        """Make the next start set the file aside; a reader changes nothing."""
        if not self.read_only:
            with suppress(OSError):
                self._mark.touch()

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Raise errors of SQLite and of the system as StorageError, and as DamagedError where the file is broken."""
        try:
            yield
        except DamagedError:  # of a block
            self.remember_damage()
            raise
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.ProgrammingError) and is_damage(error):
                self.remember_damage()
                raise self._damaged(doing, error) from error
            raise storage_error(self.path, doing, error) from error

    @contextmanager
    def writing(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Commit all that is done inside, or nothing; inside another one the outer one commits. Raises StorageError."""
        with self.errors(doing), nullcontext() if self.connection.in_transaction else transaction(self.connection):
            yield self.connection

    @contextmanager
    def reading(self, doing: str) -> Iterator[None]:
        """Make every query inside see the same state. Raises StorageError."""
        with self.errors(doing):
            inside = self.connection.in_transaction  # another one, whose state they see
            if self.read_only and not inside and self.path.stat().st_ino != self._number:
                raise StorageError(f"{self.path}: another file has taken its place", "open the market data again")
            if not inside:
                self.connection.execute("BEGIN")
            try:
                yield
            finally:
                if not inside and self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query, and note the query and its time in `asked`."""
        began = time.perf_counter()
        found = self.connection.execute(query, values).fetchall()
        took_ms = (time.perf_counter() - began) * 1000
        noted = self.asked.get(query)
        if noted is None:
            noted = self.asked[query] = Asked(tuple(values))
        noted.times += 1
        noted.slow += took_ms >= SLOW_MS
        if took_ms > noted.worst_ms:
            noted.worst_ms, noted.values = took_ms, tuple(values)
        return found

    def close(self) -> None:
        """Close the file."""
        self.connection.close()
