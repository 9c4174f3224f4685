"""Find harmful settings and states of a QuestDB server, with the statement or line of server.conf that corrects each.

Names and defaults are those of server 9.3.4 (SHOW PARAMETERS, tables(), wal_tables()), checked 2026-11-28.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pumpwatch_plugins.sinks.questdb.http import Server, StatementRejected
from pumpwatch_plugins.sinks.questdb.sql import Table, text

BEHIND = 200  # acknowledged transactions that are not visible: minutes of trades
LAG_US = 600_000_000  # the server's default
PARAMETERS = {
    "cairo.wal.apply.enabled": ("true", "acknowledged trades never become visible"),
    "cairo.wal.enabled.default": ("true", "new tables have no write-ahead log, so rows are not deduplicated"),
}


def advice(server: Server, tables: Sequence[Table]) -> list[tuple[str, str]]:
    """Return (problem, the command that corrects it). Raises ServiceUnavailable if the server does not answer."""
    names = ", ".join(text(table.name) for table in tables)
    try:
        return [*_suspended(server, names), *_tables(server, names, {table.name: table for table in tables}),
                *_parameters(server)]
    except StatementRejected:  # an older server that lacks one of these functions
        return []


def _suspended(server: Server, names: str) -> Iterator[tuple[str, str]]:
    for name, suspended, applied, sent in server.exec(
            f"SELECT name, suspended, writerTxn, sequencerTxn FROM wal_tables() WHERE name IN ({names})"):
        if suspended:
            yield f"table {name} is suspended, {sent - applied:,} transactions wait", f"ALTER TABLE {name} RESUME WAL"
        elif sent - applied > BEHIND:
            yield (f"table {name}: {sent - applied:,} acknowledged transactions are not visible yet",
                   "wal.apply.worker.count=2 in server.conf, or a faster disk; queries with large sorts slow it too")


def _tables(server: Server, names: str, wanted: dict[str, Table]) -> Iterator[tuple[str, str]]:
    for name, wal, dedup, lag_us in server.exec(
            f"SELECT table_name, walEnabled, dedup, o3MaxLag FROM tables() WHERE table_name IN ({names})"):
        if not wal:
            yield f"table {name} has no write-ahead log", f"ALTER TABLE {name} SET TYPE WAL, then restart the server"
        if not dedup:
            yield (f"table {name} does not deduplicate: trades that are sent again are stored twice",
                   f"ALTER TABLE {name} DEDUP ENABLE UPSERT KEYS({', '.join(wanted[name].keys)})")
        if lag_us > LAG_US:
            yield (f"table {name}: rows become visible up to {lag_us / 1e6:.0f} s late",
                   f"ALTER TABLE {name} SET PARAM o3MaxLag = 600s")


def _parameters(server: Server) -> Iterator[tuple[str, str]]:
    listed = ", ".join(map(text, PARAMETERS))
    for name, value in server.exec(f"SELECT property_path, value FROM (SHOW PARAMETERS) WHERE property_path IN ({listed})"):
        wanted, effect = PARAMETERS[name]
        if value != wanted:
            yield f"{name} is {value}: {effect}", f"{name}={wanted} in server.conf, then restart the server"
