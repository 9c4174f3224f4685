"""The SQL of the QuestDB sink: its tables and views, and the check of existing ones.

`symbol` has no INDEX: it would speed up only the count of a day, and make the table 1.7 times as large. Views are refreshed once
a minute, which costs the server a fifth of an immediate refresh. `flags` and `sequence_number` are NULL for trades without them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pumpwatch_plugins.sinks.questdb.http import Server

from pumpwatch import ConfigError, ServiceUnavailable

DDL_TIMEOUT_S = 30.0
ADDED_WITHIN_S = 10.0
REFRESHED_WITHIN_S = 10.0  # trades do not wait longer for candles
HOURS = {"HOUR": 1, "DAY": 24, "WEEK": 168}

TRADE_COLUMNS = (
    ("timestamp", "TIMESTAMP_NS"), ("exchange", "SYMBOL"), ("market_type", "SYMBOL"), ("symbol", "SYMBOL"),
    ("side", "SYMBOL"), ("price", "DOUBLE"), ("quantity", "DOUBLE"), ("trade_id", "VARCHAR"),
    ("sequence_number", "LONG"), ("received_at", "TIMESTAMP_NS"), ("flags", "INT"),
)
# Text is cast to string: server 9.3.4 exports a VARCHAR column as NULL if no value of the partition is longer than nine bytes.
EXPORTED = ", ".join(f"{name}::string {name}" if kind == "VARCHAR" else name for name, kind in TRADE_COLUMNS)
HEALTH_COLUMNS = (
    ("timestamp", "TIMESTAMP_NS"), ("exchange", "SYMBOL"), ("market_type", "SYMBOL"), ("connections", "INT"),
    ("trades", "LONG"), ("lag_ms", "DOUBLE"), ("gaps", "LONG"), ("status", "SYMBOL"),
    ("last_trade_time", "TIMESTAMP_NS"), ("message_count", "LONG"), ("error_message", "VARCHAR"),
)
LISTING_COLUMNS = (
    ("timestamp", "TIMESTAMP_NS"), ("source", "SYMBOL"), ("notice_id", "VARCHAR"), ("symbol", "SYMBOL"),
    ("title", "VARCHAR"), ("detected_at", "TIMESTAMP_NS"), ("triggered_at", "TIMESTAMP_NS"), ("needs_body", "BOOLEAN"),
    ("archive", "VARCHAR"), ("trades", "LONG"), ("announced_at", "TIMESTAMP_NS"), ("trigger_delay_ms", "DOUBLE"),
    ("exchanges_with_data", "VARCHAR"), ("drill", "BOOLEAN"),
)
# columns that are added to tables of an earlier version
ADDED = frozenset({"status", "last_trade_time", "message_count", "error_message", "announced_at", "trigger_delay_ms",
                   "exchanges_with_data", "drill"})


@dataclass(frozen=True, slots=True)
class Table:
    """One table; its first column is the designated timestamp. ttl_days: 0 keeps days forever, None leaves the TTL as it is."""

    name: str
    columns: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]
    partition: str
    ttl_days: int | None = None

    def ddl(self) -> str:
        """Return the CREATE TABLE statement, which does not change an existing table."""
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns)
        ttl = f" TTL {self.ttl_days} DAYS" if self.ttl_days else ""
        return (f"CREATE TABLE IF NOT EXISTS {self.name} ({columns}) TIMESTAMP({self.columns[0][0]})"
                f" PARTITION BY {self.partition}{ttl} WAL DEDUP UPSERT KEYS({', '.join(self.keys)})")


def tables(prefix: str, ttl_days: int) -> tuple[Table, Table, Table]:
    """Return trades, exchange_health, listing_events."""
    key = ("timestamp", "exchange", "market_type")
    return (
        Table(f"{prefix}trades", TRADE_COLUMNS, (*key, "symbol", "trade_id"), "DAY", ttl_days),
        Table(f"{prefix}exchange_health", HEALTH_COLUMNS, key, "DAY", ttl_days),
        Table(f"{prefix}listing_events", LISTING_COLUMNS, ("timestamp", "source", "notice_id", "symbol"), "YEAR"),
    )


def candle_views(prefix: str) -> tuple[str, str]:
    """Return the statements that create candles_1m (from trades) and candles_5m (from candles_1m)."""
    return (
        _view(f"{prefix}candles_1m", f"{prefix}trades", "DAY",
              "first(price) open, max(price) high, min(price) low, last(price) close, sum(quantity) volume,"
              " sum(price * quantity) turnover, sum(CASE WHEN side = 'buy' THEN quantity ELSE 0.0 END) buy_volume,"
              " count() trades", "1m"),
        _view(f"{prefix}candles_5m", f"{prefix}candles_1m", "MONTH",
              "first(open) open, max(high) high, min(low) low, last(close) close, sum(volume) volume,"
              " sum(turnover) turnover, sum(buy_volume) buy_volume, sum(trades) trades", "5m"),
    )


def _view(name: str, source: str, partition: str, columns: str, every: str) -> str:
    return (f"CREATE MATERIALIZED VIEW IF NOT EXISTS {name} WITH BASE {source} REFRESH EVERY 1m AS (SELECT timestamp,"
            f" exchange, market_type, symbol, {columns} FROM {source} SAMPLE BY {every}) PARTITION BY {partition}")

CHECKSUM = ("sum((timestamp::long ^ coalesce(cast(trade_id AS long), 0))"  # NULL for an id that is not a whole number
            " + 31 * coalesce((quantity * 1e8)::long, 0) + 17 * coalesce((price * 1e8)::long, 0)) & 4294967295 checksum")


def minute_sums(table: str, start_ns: int, end_ns: int) -> str:
    """Return a SELECT of the trades and the checksum of each symbol and minute; QuestDB's integers wrap."""
    return (f"SELECT exchange, market_type, symbol, timestamp::long / 60000000000 minute, count() trades, {CHECKSUM}"
            f" FROM {table} WHERE timestamp >= {start_ns:d} AND timestamp < {end_ns:d}")


def text(value: str) -> str:
    """Return an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def literal(value: float | str | bool | None) -> str:
    """Return any value as an SQL literal; None is NULL."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return text(value)
    return str(value).lower()


def insert(table: str, columns: Sequence[str], rows: Iterable[Sequence[float | str | bool | None]]) -> str:
    """Return an INSERT of these rows."""
    values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values}"


def ensure(server: Server, table: Table) -> None:
    """Create a missing table. Check an existing one, add new columns, and set its TTL.

    Raises ConfigError with the table and column, the expected and the found type, and the statement that corrects it.
    """
    server.exec(table.ddl(), DDL_TIMEOUT_S)
    found = _columns(server, table)
    if new := [(name, kind) for name, kind in table.columns if name in ADDED and name not in found]:
        found = _add_columns(server, table, new)
    rename = (f"or rename the table away (RENAME TABLE {table.name} TO {table.name}_old),"
            " or set sinks.questdb.table_prefix")
    for column, kind in table.columns:
        if column not in found:
            raise ConfigError(f"QuestDB table {table.name}: column {column} is missing, expected {kind}",
                              f"ALTER TABLE {table.name} ADD COLUMN {column} {kind}, {rename}")
        if found[column][0] != kind:
            raise ConfigError(f"QuestDB table {table.name}: column {column} is {found[column][0]}, expected {kind}",
                              f"ALTER TABLE {table.name} ALTER COLUMN {column} TYPE {kind}, {rename}")
    keys = {column for column, (_, key) in found.items() if key}
    if keys != set(table.keys):
        raise ConfigError(f"QuestDB table {table.name}: deduplicates on {', '.join(sorted(keys)) or 'nothing'},"
                          f" expected {', '.join(table.keys)}",
                          f"ALTER TABLE {table.name} DEDUP ENABLE UPSERT KEYS({', '.join(table.keys)}), {rename}")
    if table.ttl_days is not None:
        set_ttl(server, table.name, table.ttl_days)


def _columns(server: Server, table: Table) -> dict[str, tuple[str, bool]]:
    return {row[0]: (row[1], row[2]) for row in server.exec(
        f'SELECT "column", type, upsertKey FROM table_columns({text(table.name)})', DDL_TIMEOUT_S)}


def _add_columns(server: Server, table: Table, new: Sequence[tuple[str, str]]) -> dict[str, tuple[str, bool]]:
    """Add columns and wait until they exist: the change goes through the table's write-ahead log."""
    for column, kind in new:
        server.exec(f"ALTER TABLE {table.name} ADD COLUMN IF NOT EXISTS {column} {kind}", DDL_TIMEOUT_S)
    deadline = time.monotonic() + ADDED_WITHIN_S
    while not {name for name, _ in new} <= (found := _columns(server, table)).keys():
        if time.monotonic() > deadline:
            raise ServiceUnavailable(f"QuestDB table {table.name}: new columns do not exist after {ADDED_WITHIN_S:.0f} s",
                                     f"is it suspended? ALTER TABLE {table.name} RESUME WAL")
        time.sleep(0.05)
    return found


def set_ttl(server: Server, name: str, days: int) -> None:
    """Set the age in days at which the server drops a table's days; 0: never."""
    statement = f"SELECT ttlValue, ttlUnit FROM tables() WHERE table_name = {text(name)}"
    value, unit = server.exec(statement, DDL_TIMEOUT_S)[0]
    if value * HOURS.get(unit, 0) != days * 24:  # 7 days come back as 1 WEEK, none as 0 HOUR
        server.exec(f"ALTER TABLE {name} SET TTL {days} DAYS", DDL_TIMEOUT_S)


def exists(server: Server, table: Table) -> bool:
    """Return whether the server has such a table."""
    return bool(server.exec(f"SELECT 1 FROM tables() WHERE table_name = {text(table.name)}", DDL_TIMEOUT_S))


def drop_views(server: Server, prefix: str) -> None:
    """Drop the candle views of a dropped table before it is recreated: the server reports them as valid for a while."""
    for name in (f"{prefix}candles_5m", f"{prefix}candles_1m"):
        server.exec(f"DROP MATERIALIZED VIEW IF EXISTS {name}", DDL_TIMEOUT_S)


def ensure_views(server: Server, prefix: str) -> None:
    """Create missing candle views, and rebuild them if their table was dropped or emptied.

    Rebuilt candles cover the trades that the table still has. A long rebuild continues the next time the sink is opened.
    """
    for view in candle_views(prefix):
        server.exec(view, DDL_TIMEOUT_S)
    stale = _stale_views(server)
    for name in (f"{prefix}candles_1m", f"{prefix}candles_5m"):  # the second can be filled once the first is valid
        if name in stale:
            server.exec(f"REFRESH MATERIALIZED VIEW {name} FULL", DDL_TIMEOUT_S)
            deadline = time.monotonic() + REFRESHED_WITHIN_S
            while name in _stale_views(server) and time.monotonic() < deadline:
                time.sleep(0.1)


def _stale_views(server: Server) -> set[str]:
    return {row[0] for row in server.exec("SELECT view_name FROM materialized_views() WHERE view_status = 'invalid'")}
