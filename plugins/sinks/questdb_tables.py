"""The tables and views that the QuestDB sink keeps, as DDL that 9.3.4 takes.

No INDEX on symbol: it makes nothing we ask faster but the count of a day, and the table 1.7 times as large. Views are
refreshed once a minute, which costs the server a fifth of refreshing them at once.
"""

from __future__ import annotations

from dataclasses import dataclass

TRADE_COLUMNS = (
    ("timestamp", "TIMESTAMP_NS"), ("exchange", "SYMBOL"), ("market_type", "SYMBOL"), ("symbol", "SYMBOL"), ("side", "SYMBOL"),
    ("price", "DOUBLE"), ("quantity", "DOUBLE"), ("trade_id", "VARCHAR"), ("sequence_number", "LONG"),
    ("received_at", "TIMESTAMP_NS"), ("flags", "INT"),
)
HEALTH_COLUMNS = (
    ("timestamp", "TIMESTAMP_NS"), ("exchange", "SYMBOL"), ("market_type", "SYMBOL"), ("connections", "INT"),
    ("trades", "LONG"), ("lag_ms", "DOUBLE"), ("gaps", "LONG"),
)
LISTING_COLUMNS = (
    ("timestamp", "TIMESTAMP_NS"), ("source", "SYMBOL"), ("notice_id", "VARCHAR"), ("symbol", "SYMBOL"), ("title", "VARCHAR"),
    ("detected_at", "TIMESTAMP_NS"), ("triggered_at", "TIMESTAMP_NS"), ("needs_body", "BOOLEAN"), ("archive", "VARCHAR"),
    ("trades", "LONG"),
)


@dataclass(frozen=True, slots=True)
class Table:
    """One table; its first column is the designated timestamp. ttl_days: 0 for ever, None left as it is found."""

    name: str
    columns: tuple[tuple[str, str], ...]
    keys: tuple[str, ...]
    partition: str
    ttl_days: int | None = None

    def ddl(self) -> str:
        """Return the CREATE TABLE statement; it does nothing where the table exists."""
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns)
        ttl = f" TTL {self.ttl_days} DAYS" if self.ttl_days else ""
        return (f"CREATE TABLE IF NOT EXISTS {self.name} ({columns}) TIMESTAMP({self.columns[0][0]})"
                f" PARTITION BY {self.partition}{ttl} WAL DEDUP UPSERT KEYS({', '.join(self.keys)})")


def tables(prefix: str, ttl_days: int) -> tuple[Table, Table, Table]:
    """Return trades, exchange_health, listing_events."""
    return (
        Table(f"{prefix}trades", TRADE_COLUMNS, ("timestamp", "exchange", "market_type", "symbol", "trade_id"), "DAY", ttl_days),
        Table(f"{prefix}exchange_health", HEALTH_COLUMNS, ("timestamp", "exchange", "market_type"), "DAY", ttl_days),
        Table(f"{prefix}listing_events", LISTING_COLUMNS, ("timestamp", "source", "notice_id", "symbol"), "YEAR"),
    )


def candle_views(prefix: str) -> tuple[str, str]:
    """Return the statements that make candles_1m (from trades) and candles_5m (from candles_1m)."""
    return (
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS {prefix}candles_1m WITH BASE {prefix}trades REFRESH EVERY 1m AS ("
        "SELECT timestamp, exchange, market_type, symbol, first(price) open, max(price) high, min(price) low, last(price) close,"
        " sum(quantity) volume, sum(price * quantity) turnover,"
        " sum(CASE WHEN side = 'buy' THEN quantity ELSE 0.0 END) buy_volume, count() trades"
        f" FROM {prefix}trades SAMPLE BY 1m) PARTITION BY DAY",
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS {prefix}candles_5m WITH BASE {prefix}candles_1m REFRESH EVERY 1m AS ("
        "SELECT timestamp, exchange, market_type, symbol, first(open) open, max(high) high, min(low) low, last(close) close,"
        " sum(volume) volume, sum(turnover) turnover, sum(buy_volume) buy_volume, sum(trades) trades"
        f" FROM {prefix}candles_1m SAMPLE BY 5m) PARTITION BY MONTH",
    )
