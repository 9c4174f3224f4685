"""The ledger's schema as a list of migrations. Each is applied once to a file, in this order, and never changed."""

from __future__ import annotations

import secrets

from pumpwatch.store.sqlite_library import Database, Migrations

migrations = Migrations("ledger")


@migrations()
def first(db: Database) -> None:
    """Create the first schema."""
    db.create_table("gaps", {
        "id": int, "exchange": str, "market_type": str, "symbol": str, "from_ns": int, "to_ns": int, "first_id": int,
        "last_id": int, "reason": str, "state": str, "note": str}, pk="id")
    db.execute("CREATE UNIQUE INDEX gaps_key ON gaps "
               "(exchange, market_type, symbol, ifnull(first_id, -1), ifnull(last_id, -1), from_ns)")
    db.execute("CREATE INDEX gaps_state ON gaps (state)")
    db.create_table("connection_events", {
        "at_ns": int, "exchange": str, "market_type": str, "connection": int, "event": str, "reason": str},
        pk=("at_ns", "exchange", "market_type", "connection", "event"))
    db.create_table("quarantine", {
        "at_ns": int, "exchange": str, "market_type": str, "reason": str, "digest": int, "nth": int, "size": int,
        "payload": bytes}, pk=("at_ns", "exchange", "market_type", "reason", "digest", "nth"))
    db.create_table("notices", {
        "source": str, "notice_id": str, "title": str, "category": str, "published_at_ns": int, "updated_at_ns": int,
        "url": str, "verdict_kind": str, "revision": str}, pk=("source", "notice_id"))
    db.create_table("listings", {
        "source": str, "notice_id": str, "symbol": str, "title": str, "announced_at_ns": int, "detected_at_ns": int,
        "triggered_at_ns": int, "needs_body": int, "archive": str, "trades": int},
        pk=("source", "notice_id", "symbol"))


@migrations()
def gaps_by_time(db: Database) -> None:
    """Index gaps by time, for queries of the gaps around a window."""
    db.execute("CREATE INDEX gaps_time ON gaps (to_ns, from_ns)")


@migrations()
def gaps_of_connections(db: Database) -> None:
    """Let a gap name a connection's symbols: each set of symbols is stored once, and gaps hold its digest."""
    db.create_table("gap_symbols", {"digest": str, "symbols": str}, pk="digest")
    db.execute("ALTER TABLE gaps ADD COLUMN symbols_key TEXT NOT NULL DEFAULT ''")
    db.execute("DROP INDEX gaps_key")
    db.execute("CREATE UNIQUE INDEX gaps_key ON gaps "
               "(exchange, market_type, symbol, ifnull(first_id, -1), ifnull(last_id, -1), from_ns, symbols_key)")
    db.execute("CREATE INDEX gaps_symbols ON gaps (symbols_key) WHERE symbols_key != ''")


@migrations()
def upkeep_by_age(db: Database) -> None:
    """Index the queries of the upkeep: the oldest rows and the total size, without reading a payload."""
    db.execute("CREATE INDEX quarantine_age ON quarantine (at_ns, exchange, market_type, size)")
    db.execute("CREATE INDEX gaps_filled ON gaps (to_ns) WHERE state = 'filled'")


@migrations()
def identity(db: Database) -> None:
    """Give a ledger an identity, so that a replaced file is noticed."""
    db.create_table("identity", {"id": str})
    db.execute("INSERT INTO identity VALUES (?)", [secrets.token_hex(8)])


@migrations()
def first_looks(db: Database) -> None:
    """Record that known notices were lost (`*`), and which sources had their first look since then."""
    db.create_table("first_looks", {"source": str}, pk="source")


@migrations()
def listing_problems(db: Database) -> None:
    """Store the reason why a known listing has no archive."""
    db.execute("ALTER TABLE listings ADD COLUMN problem TEXT NOT NULL DEFAULT ''")


@migrations()
def gap_fills(db: Database) -> None:
    """Store the result of the backfill for each symbol of a gap; a row names its gap by the gap's own key."""
    db.create_table("gap_fills", {
        "exchange": str, "market_type": str, "gap_symbol": str, "from_ns": int, "first_id": int, "last_id": int,
        "symbols_key": str, "symbol": str, "to_ns": int, "state": str, "found": int, "missing": int, "by": str, "reason": str,
        "lost_from_ns": int, "lost_to_ns": int, "at_ns": int})
    db.execute("CREATE UNIQUE INDEX gap_fills_key ON gap_fills "
               "(exchange, market_type, gap_symbol, from_ns, first_id, last_id, symbols_key, symbol)")
    db.execute("CREATE INDEX gap_fills_time ON gap_fills (to_ns, from_ns)")


@migrations()
def joined_fills(db: Database) -> None:
    """Let one row hold the fills of all symbols of a filled gap that missed nothing."""
    db.execute("ALTER TABLE gap_fills ADD COLUMN symbols TEXT NOT NULL DEFAULT ''")


@migrations()
def sights(db: Database) -> None:
    """Store each sight of a listing: its source and its time. Known listings get one sight, their own."""
    db.execute("ALTER TABLE listings ADD COLUMN exchange TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE listings ADD COLUMN kind TEXT NOT NULL DEFAULT 'notice'")
    db.create_table("sights", {
        "source": str, "notice_id": str, "symbol": str, "exchange": str, "kind": str, "seen_at_ns": int,
        "published_at_ns": int, "title": str, "edits": int, "edited_at_ns": int, "of_source": str, "of_notice_id": str},
        pk=("source", "notice_id", "symbol"))
    db.execute("CREATE INDEX sights_coin ON sights (symbol, exchange)")
    db.execute("INSERT OR IGNORE INTO sights SELECT source, notice_id, symbol, source, 'notice', detected_at_ns, announced_at_ns,"
               " title, 0, 0, source, notice_id FROM listings")


@migrations()
def drills(db: Database) -> None:
    """Mark made-up listings: all listings from the inbox."""
    db.execute("ALTER TABLE listings ADD COLUMN drill INTEGER NOT NULL DEFAULT 0")
    db.execute("UPDATE listings SET drill = 1 WHERE source = 'fake'")


@migrations()
def messages(db: Database) -> None:
    """Store the messages that a channel has not taken yet, and the events whose messages were stored."""
    db.create_table("messages", {
        "channel": str, "event_id": str, "event": str, "made_at_ns": int, "tries": int, "next_at_ns": int},
        pk=("channel", "event_id"))
    db.create_table("told", {"event_id": str, "at_ns": int}, pk="event_id")


@migrations()
def evidence(db: Database) -> None:
    """Store the unchanged content that each source showed of a listing."""
    db.create_table("evidence", {"source": str, "notice_id": str, "at_ns": int, "event": str, "facts": str},
                    pk=("source", "notice_id", "at_ns", "event"))


@migrations()
def sight_members(db: Database) -> None:
    """Store which collector of a cluster saw a listing."""
    db.execute("ALTER TABLE sights ADD COLUMN member TEXT NOT NULL DEFAULT ''")
