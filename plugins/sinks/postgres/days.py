"""The days of the trades table: list their sizes, drop them, and copy one as Parquet.

A day is a partition or, with TimescaleDB, a chunk, which may last an hour. Its trades are counted once. The count is stored as
the comment of its table, with figures that change with every insert, so that most days are never counted again. Candles have
separate tables and stay when a day is dropped.
"""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from pumpwatch_plugins.sinks.postgres import sql
from pumpwatch_plugins.sinks.postgres.chunks import set_retention
from pumpwatch_plugins.sinks.postgres.options import PostgresOptions, address_of
from pumpwatch_plugins.sinks.postgres.parquet import write_trades
from pumpwatch_plugins.sinks.postgres.schema import TIMESCALE
from pumpwatch_plugins.sinks.postgres.server import Server
from pumpwatch_plugins.sinks.postgres.upkeep import Upkeep

from pumpwatch import PumpWatchError, ServiceUnavailable, StoredDay

COUNT_MS = 300_000  # for one day with hundreds of millions of trades
COUNTING_S = 60.0  # per call of `days`; a later call lists days that were not counted by then
COUNTED = "pumpwatch counted "
# After a crash of the server all counters restart at zero, and stats_reset changes.
CHANGES = ("concat_ws('.', c.relfilenode, pg_relation_size(c.oid), pg_stat_get_tuples_inserted(c.oid),"
           " pg_stat_get_tuples_updated(c.oid), pg_stat_get_tuples_deleted(c.oid),"
           " (SELECT (extract(epoch FROM stats_reset) * 1000)::bigint FROM pg_stat_bgwriter))")
PARTITIONS = (f"SELECT n.nspname::text, c.relname::text, obj_description(c.oid, 'pg_class'), {CHANGES},"
              " pg_total_relation_size(c.oid), to_date(right(c.relname, 8), 'YYYYMMDD')::timestamp AT TIME ZONE 'UTC', NULL"
              " FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid JOIN pg_namespace n ON n.oid = c.relnamespace"
              r" WHERE i.inhparent = to_regclass(%s) AND c.relname ~ '^trade_history_\d{8}$' ORDER BY 2")
CHUNKS = (f"SELECT n.nspname::text, c.relname::text, obj_description(c.oid, 'pg_class'), {CHANGES}, s.total_bytes,"
          " k.range_start, k.range_end FROM timescaledb_information.chunks k"
          " JOIN chunks_detailed_size(%s::regclass) s USING (chunk_schema, chunk_name)"
          " JOIN pg_namespace n ON n.nspname = k.chunk_schema"
          " JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = k.chunk_name"
          " WHERE k.hypertable_schema = %s AND k.hypertable_name = 'trade_history' ORDER BY k.range_start")
EPOCH, US_NS = datetime(1970, 1, 1, tzinfo=UTC), 1_000
DROP_CHUNK = "SELECT drop_chunks(%s::regclass, older_than => %s::timestamptz, newer_than => %s::timestamptz)"


class Part:
    """One past partition or chunk. key: changes with its trades. trades: None if they must be counted."""

    def __init__(self, schema: str, name: str, comment: str | None, key: str, size_bytes: int, start: datetime,
                 end: datetime | None) -> None:
        self.table, self.name, self.key, self.size_bytes = f"{schema}.{name}", name, key, int(size_bytes or 0)
        self.start, self.end = start, end or start + timedelta(days=1)
        words = (comment or "").removeprefix(COUNTED).split()
        known = (comment or "").startswith(COUNTED) and len(words) == 2 and words[1] == key
        self.trades = int(words[0]) if known else None

    @property
    def bounds(self) -> tuple[int, int]:
        """Return its time [from, to) in ns."""
        return _ns(self.start), _ns(self.end)


def parts(server: Server, schema: str) -> list[Part]:
    """Return the past partitions or chunks, the oldest first. Raises ServiceUnavailable."""
    table = f"{schema}.trade_history"
    if server.rows("SELECT to_regclass(%s) IS NULL", (table,))[0][0]:
        return []
    engine = server.rows(f"SELECT engine FROM {schema}.schema_version LIMIT 1")[0][0]
    rows = server.rows(CHUNKS, (table, schema)) if engine == TIMESCALE else server.rows(PARTITIONS, (table,))
    now = datetime.now(UTC)
    return [part for part in (Part(*row) for row in rows) if part.end <= now]


class Days:
    """The days of one schema. Every method blocks, and raises ServiceUnavailable."""

    def __init__(self, server: Server, options: PostgresOptions, upkeep: Upkeep) -> None:
        self._server, self._options, self._schema, self._upkeep = server, options, options.schema, upkeep
        self._counted: dict[str, tuple[str, int]] = {}  # as in the comments, which cannot be written to a full disk

    def days(self) -> list[StoredDay]:
        """Return the counted days, the oldest first, without the current one.

        New and changed days are counted first; after COUNTING_S the remaining days are left to a later call.
        """
        found, until = [], time.monotonic() + COUNTING_S
        for part in parts(self._server, self._schema):
            if part.trades is None and self._counted.get(part.table, ("",))[0] == part.key:
                part.trades = self._counted[part.table][1]
            if part.trades is None:
                if time.monotonic() > until:
                    break  # older days are dropped first, and are in the list
                part.trades = self._count(part)
            if part.trades:
                found.append(StoredDay(part.name, *part.bounds, part.trades, part.size_bytes))
        return found

    def _count(self, part: Part) -> int:
        trades = int(self._server.rows(f"SELECT count(*) FROM {part.table}", (), COUNT_MS)[0][0])
        self._counted[part.table] = part.key, trades
        with contextlib.suppress(PumpWatchError):  # the server's disk may be full
            self._server.rows(f"COMMENT ON TABLE {part.table} IS '{COUNTED}{trades} {part.key}'")
        return trades

    def keep_days(self, days: int) -> None:
        """Set the retention to `days` days; 0 restores that of the options."""
        self._upkeep.keep_days(days)
        if self._is_timescale():
            set_retention(self._server, self._schema, days or self._options.retention_days)

    def _is_timescale(self) -> bool:
        there = self._server.rows("SELECT to_regclass(%s) IS NOT NULL", (f"{self._schema}.schema_version",))[0][0]
        return bool(there) and self._server.rows(f"SELECT engine FROM {self._schema}.schema_version LIMIT 1") == [(TIMESCALE,)]

    def drop_days(self, days: Sequence[StoredDay]) -> None:
        """Drop these days immediately. Raises ServiceUnavailable while a backup reads them."""
        by_name = {part.name: part for part in parts(self._server, self._schema)}
        timescale = self._is_timescale()
        for part in (by_name[day.name] for day in days if day.name in by_name):
            if timescale:
                self._server.drop(DROP_CHUNK, (f"{self._schema}.trade_history", part.end, part.start))
            else:
                self._server.drop(f"DROP TABLE IF EXISTS {part.table}")
        self._upkeep.forget()

    def write_parquet(self, day: StoredDay, file: BinaryIO) -> None:
        """Write the day's trades as Parquet, with the columns of QuestDB's table."""
        write_trades(self._server, self._table_of(day), file)

    def day_sums(self, day: StoredDay) -> tuple[int, int]:
        """Return the number of trades of a day and their checksum."""
        trades, checksum = self._server.rows(sql.table_sums(self._table_of(day)), (), COUNT_MS)[0]
        return int(trades), int(checksum)

    def _table_of(self, day: StoredDay) -> str:
        for part in parts(self._server, self._schema):
            if part.name == day.name:
                return part.table
        raise ServiceUnavailable(f"{self._server.place}: {day.name} does not exist any more")

    def files_in(self) -> str:
        """Return the server's folder: from the options or, on this machine, from the server if the user may see it."""
        if self._options.data_dir or not _is_here(self._options.dsn):
            return str(self._options.data_dir)
        try:
            found = str(self._server.rows("SELECT current_setting('data_directory')")[0][0])
        except PumpWatchError as error:
            if getattr(error.__cause__, "sqlstate", "") != "42501":
                raise
            return ""  # only members of pg_read_all_settings see it
        return found if Path(found).is_dir() else ""


def _ns(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * US_NS


def _is_here(dsn: str) -> bool:
    parts_of = address_of(dsn)
    host = parts_of.get("hostaddr") or parts_of.get("host") or "/"
    try:
        return host.startswith("/") or host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

