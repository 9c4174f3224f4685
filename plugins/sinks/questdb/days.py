"""The days of the trades table: list their sizes, drop them, and copy one as Parquet.

Measured on server 9.3.4: DROP PARTITION invalidates every materialized view on the table, and a rebuilt view covers only the days
that the table still has. A TTL drops the same days with the next write and leaves the views as they are. So days of a table with
views are dropped by a shorter TTL, and those of a table without views immediately.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from pumpwatch_plugins.sinks.questdb.http import Server, StatementRejected
from pumpwatch_plugins.sinks.questdb.options import QuestDBOptions
from pumpwatch_plugins.sinks.questdb.sql import CHECKSUM, DDL_TIMEOUT_S, EXPORTED, set_ttl, text

from pumpwatch import StoredDay

DAY_NS = 86_400 * 10**9
AT_ONCE = 20  # partitions in one statement
SUM_TIMEOUT_S = 120.0  # a day may have hundreds of millions of trades


class Days:
    """The days of one table. Every method blocks, and raises ServiceUnavailable."""

    def __init__(self, server: Server, table: str, options: QuestDBOptions) -> None:
        self._server, self._table, self._options = server, table, options

    def days(self) -> list[StoredDay]:
        """Return the days of the table, the oldest first, without the current one."""
        rows = self._server.exec(
            "SELECT name, partitionBy, minTimestamp::long, maxTimestamp::long, numRows, diskSize"
            f" FROM table_partitions({text(self._table)})"
            " WHERE attached AND NOT active AND numRows > 0 ORDER BY minTimestamp")
        return [StoredDay(name, *_bounds(kind, first, last), trades, size) for name, kind, first, last, trades, size in rows]

    def keep_days(self, days: int) -> None:
        """Set the table's TTL; 0 restores the TTL of the options."""
        set_ttl(self._server, self._table, days or self._options.ttl_days)

    def drop_days(self, days: Sequence[StoredDay]) -> None:
        """Drop these days immediately if the table has no view."""
        if self._has_views():
            return
        for first in range(0, len(days), AT_ONCE):
            names = ", ".join(text(day.name) for day in days[first:first + AT_ONCE])
            self._server.exec(f"ALTER TABLE {self._table} DROP PARTITION LIST {names}", DDL_TIMEOUT_S)

    def _has_views(self) -> bool:
        return bool(self._server.exec("SELECT view_name FROM materialized_views() WHERE base_table_name ="
                                      f" {text(self._table)} LIMIT 1"))

    def write_parquet(self, day: StoredDay, file: BinaryIO) -> None:
        """Write the day's rows as Parquet; the server makes the file."""
        self._server.export(f"SELECT {EXPORTED} FROM {self._table} {_within(day)}", file)

    def day_sums(self, day: StoredDay) -> tuple[int, int]:
        """Return the number of trades of a day and their checksum."""
        trades, checksum = self._server.exec(f"SELECT count() trades, {CHECKSUM} FROM {self._table} {_within(day)}",
                                             SUM_TIMEOUT_S)[0]
        return trades, int(checksum or 0)

    def files_in(self) -> str:
        """Return the server's folder of tables: from the options or, if the server is on this machine, from the server."""
        own: str = self._options.data_dir
        if own or not _is_here(self._options.addr):
            return own
        try:
            found = dict(self._server.exec("SELECT property_path, value FROM (SHOW PARAMETERS) WHERE property_path IN"
                                           " ('cairo.root', 'cairo.sql.copy.work.root')"))
        except StatementRejected:  # a server that does not show its settings
            return ""
        root = Path(str(found.get("cairo.root") or ""))
        place = root if root.is_absolute() else Path(str(found.get("cairo.sql.copy.work.root") or "")).parent / root
        return str(place) if place.is_absolute() and place.is_dir() else ""


def _bounds(kind: str, first_ns: int, last_ns: int) -> tuple[int, int]:
    """Return the whole day for a daily partition, and the time of its trades for any other."""
    start_ns = first_ns // DAY_NS * DAY_NS
    return (start_ns, start_ns + DAY_NS) if kind == "DAY" else (first_ns, last_ns + 1)


def _within(day: StoredDay) -> str:
    return f"WHERE timestamp >= {day.from_ns:d} AND timestamp < {day.to_ns:d}"


def _is_here(addr: str) -> bool:
    host = addr.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
