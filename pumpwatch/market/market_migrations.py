"""The schema of the store of candles as a list of migrations: each is applied once to a file, in this order, and never changed.

Times are seconds since 1970, UTC; an interval is its length in seconds. NULL is a figure that is not known.
"""

from __future__ import annotations

from pumpwatch.store.sqlite_library import Database, Migrations

market_migrations = Migrations("market_data")


@market_migrations()
def first(db: Database) -> None:
    """Create the series, their candles as rows and as blocks (candle_blocks.py), and the marks."""
    db.execute("CREATE TABLE series (id INTEGER PRIMARY KEY, exchange TEXT NOT NULL, market_type TEXT NOT NULL,"
               " symbol TEXT NOT NULL, UNIQUE (exchange, market_type, symbol))")
    db.execute("CREATE TABLE candles (series INTEGER NOT NULL REFERENCES series (id), interval INTEGER NOT NULL,"
               " timestamp INTEGER NOT NULL, open REAL, high REAL, low REAL, close REAL, volume REAL, quote_volume REAL,"
               " taker_buy_volume REAL, trades INTEGER, complete INTEGER NOT NULL, origin INTEGER NOT NULL,"
               " PRIMARY KEY (series, interval, timestamp)) WITHOUT ROWID")
    db.execute("CREATE TABLE blocks (series INTEGER NOT NULL REFERENCES series (id), interval INTEGER NOT NULL,"
               " start INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, candles INTEGER NOT NULL,"
               " data BLOB NOT NULL)")
    db.execute("CREATE UNIQUE INDEX blocks_key ON blocks (series, interval, start)")
    db.execute("CREATE INDEX blocks_time ON blocks (interval, start)")
    db.execute("CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")


@market_migrations()
def upkeep(db: Database) -> None:
    """Store when each piece of upkeep last ran and how it ended, and the queries that were asked, with their plans."""
    db.execute("CREATE TABLE upkeep (task TEXT PRIMARY KEY, at INTEGER NOT NULL, result TEXT NOT NULL) WITHOUT ROWID")
    db.execute("CREATE TABLE queries (query TEXT PRIMARY KEY, times INTEGER NOT NULL, slow INTEGER NOT NULL,"
               " worst_ms REAL NOT NULL, last_at INTEGER NOT NULL, query_plan TEXT NOT NULL) WITHOUT ROWID")
