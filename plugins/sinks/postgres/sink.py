"""The PostgreSQL sink.

A batch is one transaction: COPY into a temporary table, then an INSERT that skips existing trades, so that writing a batch again
changes nothing. ON CONFLICT DO NOTHING costs the server 15 us per row, a plain INSERT 9 us. So the plain one is tried first,
except during the minute after it found an existing trade, and after `open`. The primary key is (symbol, time, trade_id, exchange,
market_type, time_ns). An acknowledged batch is visible immediately, and survives a power cut if fsync and synchronous_commit are
on (the defaults).

The server does not name a rejected row, so the drain halves the batch until the row is isolated. A batch has prices and
quantities as doubles. NUMERIC gets the shortest digits that represent the double; these are the venue's digits if it sends at
most 15.
"""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from pumpwatch_plugins.sinks.postgres import rows as stage
from pumpwatch_plugins.sinks.postgres import schema as schemas
from pumpwatch_plugins.sinks.postgres import sql
from pumpwatch_plugins.sinks.postgres.advice import advice
from pumpwatch_plugins.sinks.postgres.backup import hold
from pumpwatch_plugins.sinks.postgres.chunks import fit_chunks, set_retention
from pumpwatch_plugins.sinks.postgres.days import Days
from pumpwatch_plugins.sinks.postgres.facts import facts
from pumpwatch_plugins.sinks.postgres.options import PostgresOptions
from pumpwatch_plugins.sinks.postgres.reading import Readers, read
from pumpwatch_plugins.sinks.postgres.restoring import restore
from pumpwatch_plugins.sinks.postgres.server import Server, StatementRejected
from pumpwatch_plugins.sinks.postgres.upkeep import Upkeep, touch

from pumpwatch import (
    Catalogue,
    ConfigError,
    HeldBackup,
    JudgeRows,
    Keeping,
    Listing,
    ListingEvent,
    OpenPart,
    PumpWatchError,
    ServerFacts,
    ServiceUnavailable,
    TradeBatch,
    WriteResult,
)

if TYPE_CHECKING:
    import psycopg

FLUSH_ROWS = 20_000  # 2.1 MB as a binary body
UNNEST_ROWS = 300  # 64 KB: a larger statement crashes PGlite
COUNTED_AT_ONCE = 50  # ranges in one statement
SUM_TIMEOUT_MS = 120_000
NOTHING_SYNCED_S = 300.0  # how much a server that does not sync may lose, with a wide margin
LATE_SYNC_S = 10.0  # the same with synchronous_commit off: three times wal_writer_delay, at most 10 s
ERROR_CHARS = 200
MINUTE_NS = 60 * 10**9
FIT_S = 3600.0  # between two checks of the size of chunks
CAREFUL_S = 60.0  # repeated trades come together, after an outage
SCHEMA_CHARS = 30  # of the schema in the name of a trial: PostgreSQL takes 63 in all
TRIAL = "_trial_"  # in the schema of a trial


class PostgresSink:
    """One schema of one database. `open`, `write`, `close` in the sink's thread; the rest in any thread. Every call blocks."""

    def __init__(self, options: PostgresOptions) -> None:
        self._options, self._schema = options, options.schema
        self._server = Server(options)
        self._readers = Readers(self._server, options)
        self._upkeep = Upkeep(self._server, options)
        days = Days(self._server, options, self._upkeep)
        self.days, self.keep_days, self.drop_days = days.days, days.keep_days, days.drop_days
        self.write_parquet, self.day_sums, self.files_in = days.write_parquet, days.day_sums, days.files_in
        self._state: schemas.Schema | None = None  # None: not open
        self._copies = options.copy
        self._careful_until = self._fit_at = 0.0
        self._rows = self._write_s = 0.0

    def open(self) -> None:
        """Create or migrate the schema, and check its tables."""
        self.close()
        state = schemas.ensure(self._server, self._options)
        if state.engine == schemas.TIMESCALE:
            set_retention(self._server, self._schema, self._options.retention_days)
        self._copies = self._options.copy and "emcc" not in self._server.rows("SELECT version()")[0][0]
        self._upkeep.forget()
        self._careful_until = time.monotonic() + CAREFUL_S
        self._state = state

    def server(self) -> str:
        """Return a description of the server and the schema. Opens the sink."""
        if self._state is None:
            self.open()
        assert self._state
        kind = (f"TimescaleDB {self._state.extension}" if self._state.engine == schemas.TIMESCALE
                else "without TimescaleDB: plain daily partitions")
        return f"{self._server.place}, version {self._state.server}, {kind}, schema {self._schema} version {self._state.version}"

    def facts(self) -> ServerFacts:
        """Return the version, the size of the schema, its partitions or chunks, and its compression and cache ratios."""
        found: ServerFacts = facts(self._server, self._schema)
        return found

    def write(self, batch: TradeBatch, catalogue: Catalogue) -> WriteResult:
        """Store the batch in transactions of at most FLUSH_ROWS rows. A rejected transaction stores none of its rows."""
        if self._state is None:
            raise ServiceUnavailable("the PostgreSQL sink is not open")
        accepted, rejected, started = 0, list[tuple[int, str]](), time.monotonic()
        for start in range(0, len(batch), FLUSH_ROWS):
            part = batch if len(batch) <= FLUSH_ROWS else batch.take(slice(start, start + FLUSH_ROWS))
            try:
                self._flush(part, catalogue, self._state.engine)
                accepted += len(part)
            except StatementRejected as error:
                if len(part) == 1:
                    rejected.append((start, error.message))
        self._rows += accepted
        self._write_s += time.monotonic() - started
        return WriteResult(accepted, rejected)

    def _flush(self, batch: TradeBatch, catalogue: Catalogue, engine: str) -> None:
        """Store a batch in one transaction. Raises StatementRejected if its data are invalid."""
        native = engine == schemas.NATIVE
        if native:
            self._upkeep.make_days(np.unique(batch.timestamp // sql.DAY_NS).tolist())
        numbers = np.unique(batch.instrument)
        exchanges, market_types, symbols = zip(*catalogue.names(numbers), strict=True)
        names = [numbers.tolist(), list(exchanges), list(market_types), list(symbols)]
        with self._server.session(also=stage.stage_table() if self._copies else "") as connection:
            if self._copies:
                self._copy(connection, batch, names)
            else:
                self._insert(connection, batch, names)
            if native:
                connection.execute(touch(self._schema, batch).encode())

    def _copy(self, connection: psycopg.Connection[Any], batch: TradeBatch, names: list[Any]) -> None:
        import psycopg

        batch = batch.take(np.argsort(batch.instrument, kind="stable"))  # in the order of the index
        with connection.cursor() as cursor, cursor.copy(stage.copy_statement(batch).encode()) as copy:
            copy.write(stage.copy_body(batch))
        statement = stage.merge(self._schema, stage.STAGE, self._options.numbers)
        if time.monotonic() >= self._careful_until:
            connection.execute(b"SAVEPOINT plain")
            try:
                connection.execute(statement.encode(), names)
            except psycopg.errors.UniqueViolation:
                self._careful_until = time.monotonic() + CAREFUL_S
                connection.execute(b"ROLLBACK TO SAVEPOINT plain")
            else:
                return
        connection.execute((statement + stage.ONCE).encode(), names)

    def _insert(self, connection: psycopg.Connection[Any], batch: TradeBatch, names: list[Any]) -> None:
        statement = stage.merge(self._schema, stage.by_unnest(), self._options.numbers) + stage.ONCE
        for start in range(0, len(batch), UNNEST_ROWS):
            values = stage.unnest_values(batch.take(slice(start, start + UNNEST_ROWS)))
            connection.execute(statement.encode(), [*values, *names])

    def trouble(self) -> str:
        """Do the due upkeep. Return an empty text, because acknowledged trades are always visible."""
        state = self._state
        if state is not None and state.engine == schemas.NATIVE:
            self._upkeep.run()
        elif state is not None and time.monotonic() >= self._fit_at:
            self._fit_at = time.monotonic() + FIT_S
            fit_chunks(self._server, self._schema, self._options.chunk_hours)
        return ""

    def advice(self) -> Sequence[tuple[str, str]]:
        """Return harmful settings of the server, see `advice.advice`."""
        found: Sequence[tuple[str, str]] = advice(self._server)
        return found

    def keeping(self) -> Keeping:
        """Return how much this server may lose and when it deletes, from its own settings."""
        fsync, commit, started, table = self._server.rows(
            "SELECT current_setting('fsync'), current_setting('synchronous_commit'),"
            " (extract(epoch FROM pg_postmaster_start_time()) * 1000)::bigint, to_regclass(%s)::oid::bigint",
            (f"{self._schema}.trade_history",))[0]
        at_risk_s = NOTHING_SYNCED_S if fsync != "on" else LATE_SYNC_S if commit == "off" else 0.0
        empty = table is None or not self._server.rows(f"SELECT 1 FROM {self._schema}.trade_history LIMIT 1")
        return Keeping(at_risk_s=at_risk_s, run=f"{started}/{table or 'missing'}", empty=empty,
                       keeps_s=self._options.retention_days * 86_400.0)

    def count(self, ranges: Sequence[tuple[int, int]]) -> list[int]:
        """Count the trades in each range of timestamps."""
        found = [0] * len(ranges)
        for first in range(0, len(ranges), COUNTED_AT_ONCE):
            part = enumerate(ranges[first:first + COUNTED_AT_ONCE], first)
            for at, trades in self._server.rows(sql.counts(self._schema, part)):
                found[at] = trades
        return found

    def minute_sums(self, start_ns: int, end_ns: int) -> list[tuple[str, str, str, int, int, int]]:
        """Return trades and checksum of each symbol and minute of [start_ns, end_ns)."""
        rows: list[Any] = self._server.rows(sql.minute_sums(self._schema, start_ns, end_ns), (), SUM_TIMEOUT_MS)
        return rows

    def read(self, names: Sequence[tuple[str, str, str]], start_ns: int, end_ns: int, catalogue: Catalogue) -> TradeBatch:
        """Return the trades of these names in [start_ns, end_ns)."""
        if not names:
            return TradeBatch.empty()
        ids = {name: catalogue.ids_of(name[:2])[name[2]] for name in names}
        found: TradeBatch = read(self._readers, self._schema, ids, start_ns, end_ns)
        return found

    def write_listing(self, listing: Listing, event: ListingEvent) -> None:
        """Insert one row of listing_events; the same listing again replaces it. Raises PumpWatchError if it is rejected."""
        row = [sql.moment(listing.announced_at_ns), listing.source, listing.notice_id, listing.symbol, listing.title,
               sql.moment(listing.detected_at_ns), sql.moment(listing.triggered_at_ns),
               (listing.triggered_at_ns - listing.announced_at_ns) / 1e6, listing.needs_body, event.archive, event.trades,
               ",".join(event.exchanges_with_data), listing.drill]
        try:
            self._upsert("listing_events", sql.LISTING, [row])
        except StatementRejected as error:
            raise PumpWatchError(error.message, error.hint) from error

    def write_health(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert one minute of exchange_health and system_metrics; the same minute again replaces it."""
        minute = sql.moment(time.time_ns() // MINUTE_NS * MINUTE_NS)
        if rows:
            self._upsert("exchange_health", ("time", *sql.HEALTH), sql.health_rows(rows, minute, ERROR_CHARS))
        used = resource.getrusage(resource.RUSAGE_SELF)
        size = self._server.rows("SELECT pg_database_size(current_database())")[0][0]
        values = {"cpu_seconds": used.ru_utime + used.ru_stime, "memory_peak_bytes": used.ru_maxrss * 1024.0,
                  "sink_rows": self._rows, "sink_write_seconds": self._write_s, "database_bytes": size}
        host = socket.gethostname()
        self._upsert("system_metrics", ("time", "host", "name", "value"),
                     [[minute, host, name, value] for name, value in values.items()])

    def _upsert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self._server.rows(*sql.upsert(self._schema, table, columns, rows))

    def close(self) -> None:
        """Close the connections; the caller keeps trades that were not acknowledged."""
        self._state = None
        self._server.close_idle()
        self._readers.close()

    def backup(self) -> AbstractContextManager[HeldBackup]:
        """Take a snapshot of the schema for pg_dump, see `backup.hold`."""
        held: AbstractContextManager[HeldBackup] = hold(self._server, self._options)
        return held

    def restore(self, names: Sequence[str], open_part: OpenPart, judge: JudgeRows) -> Mapping[str, Mapping[str, int]]:
        """Fill an empty database by pg_restore, see `restoring.restore`."""
        found: Mapping[str, Mapping[str, int]] = restore(self._server, self._options, names, open_part, judge)
        return found

    def trial(self, name: str) -> PostgresSink:
        """Return a sink on the same database with a separate schema: `SCHEMA_trial_NAME`."""
        return PostgresSink(msgspec.structs.replace(self._options, schema=f"{self._schema[:SCHEMA_CHARS]}{TRIAL}{name}"))

    def trial_place(self) -> str:
        """Return the server and the schema."""
        return f"{self._server.place}, schema {self._schema}"

    def remove_trial(self) -> None:
        """Drop the schema of a trial. Raises ConfigError for any other sink."""
        if TRIAL not in self._schema:
            raise ConfigError(f"{self.trial_place()}: this is not the schema of a trial, so it is not dropped")
        self._server.rows(f"DROP SCHEMA IF EXISTS {self._schema} CASCADE", (), SUM_TIMEOUT_MS)
        self.close()
