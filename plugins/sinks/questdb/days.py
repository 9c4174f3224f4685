"""The days of the table of trades: their sizes, how they go, and a copy of one as Parquet.

Measured on server 9.3.4: DROP PARTITION makes every materialized view on the table invalid, and a view that is built again holds
no more than the table does; a TTL drops the same days with the next write and leaves the views as they are. So days of a table
with views go by a shorter TTL, and those of a table without views at once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from pumpwatch_plugins.sinks.questdb.http import Server, StatementRejected
from pumpwatch_plugins.sinks.questdb.options import QuestDBOptions
from pumpwatch_plugins.sinks.questdb.sql import CHECKSUM, DDL_TIMEOUT_S, TRADE_COLUMNS, set_ttl, text

from pumpwatch import StoredDay

DAY_NS = 86_400 * 10**9
# Text as a string: server 9.3.4 exports a VARCHAR column as NULL where no value of the partition is longer than nine bytes.
EXPORTED = ", ".join(f"{name}::string {name}" if kind == "VARCHAR" else name for name, kind in TRADE_COLUMNS)
AT_ONCE = 20  # partitions in one statement
SUM_TIMEOUT_S = 120.0  # a day may have hundreds of millions of trades


class Days:
    """The days of one table. Every method blocks, and raises ServiceUnavailable."""

    def __init__(self, server: Server, table: str, options: QuestDBOptions) -> None:
        self._server, self._table, self._options = server, table, options

    def days(self) -> list[StoredDay]:
        """Return the days that the table holds, the oldest first, without the one that is written."""
        rows = self._server.exec(
            "SELECT name, partitionBy, minTimestamp::long, maxTimestamp::long, numRows, diskSize"
            f" FROM table_partitions({text(self._table)})"
            " WHERE attached AND NOT active AND numRows > 0 ORDER BY minTimestamp")
        return [StoredDay(name, *_bounds(kind, first, last), trades, size) for name, kind, first, last, trades, size in rows]

    def keep_days(self, days: int) -> None:
        """Set the table's TTL; 0: that of the options."""
        set_ttl(self._server, self._table, days or self._options.ttl_days)

    def drop_days(self, days: Sequence[StoredDay]) -> None:
        """Drop these days at once where the table has no view."""
        if self._has_views():
            return
        for first in range(0, len(days), AT_ONCE):
            names = ", ".join(text(day.name) for day in days[first:first + AT_ONCE])
            self._server.exec(f"ALTER TABLE {self._table} DROP PARTITION LIST {names}", DDL_TIMEOUT_S)

    def _has_views(self) -> bool:
        return bool(self._server.exec("SELECT view_name FROM materialized_views() WHERE base_table_name ="
                                      f" {text(self._table)} LIMIT 1"))

    def write_parquet(self, day: StoredDay, file: BinaryIO) -> None:
        """Have the server write the day's rows as Parquet."""
        self._server.export(f"SELECT {EXPORTED} FROM {self._table} {_within(day)}", file)

    def day_sums(self, day: StoredDay) -> tuple[int, int]:
        """Return the number of trades of a day and their checksum."""
        trades, checksum = self._server.exec(f"SELECT count() trades, {CHECKSUM} FROM {self._table} {_within(day)}",
                                             SUM_TIMEOUT_S)[0]
        return trades, int(checksum or 0)

    def files_in(self) -> str:
        """Return the server's folder of tables: that of the options, or, on this machine, as the server names it."""
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
    """Return the whole time of a partition of a day; of another one, that of its trades."""
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
