"""The ledger's table of sights: which source saw a listing, and when.

Several sources may see one listing: two sources of the board's notices, and the list of markets when the market opens. The
earliest sight becomes the listing. A later sight of the same exchange and coin joins it: a notice of another source that was
seen or published within NOTICE_REACH_S of it, or a market that opens within MARKET_REACH_S. A second notice of the same source
is a separate listing. A drill joins nothing, and nothing joins a drill. If two collectors saw one notice, the earlier time
counts.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Listing

MARKET_OPENED = "market_opened"
NOTICE_REACH_S = 3600.0  # two sources of one board show a notice within minutes of each other
MARKET_REACH_S = 30 * 86_400.0  # a market opens hours after its notice, or weeks later if the start is postponed
FIELDS = ("source, notice_id, symbol, exchange, kind, seen_at_ns, published_at_ns, title, edits, edited_at_ns, of_source,"
          " of_notice_id, member")


@dataclass(frozen=True, slots=True)
class Sight:
    """One sight of a listing. of_source, of_notice_id: the listing that it belongs to, which has the same coin.

    kind: `notice` or `market_opened`. published_at_ns: the source's own time. edits: the number of later edits of the notice,
    the last at edited_at_ns (0: never). member: the collector that saw it, empty outside a cluster.
    """

    source: str
    notice_id: str
    symbol: str
    exchange: str
    kind: str
    seen_at_ns: int
    published_at_ns: int
    title: str
    edits: int
    edited_at_ns: int
    of_source: str
    of_notice_id: str
    member: str = ""


def keep_sight(connection: sqlite3.Connection, listing: Listing, member: str = "") -> bool:
    """Store a sight; return whether it is the first one, which makes it a listing. Call it inside a transaction.

    member: the collector that saw it. A known sight keeps the earlier time.
    """
    key = (listing.source, listing.notice_id, listing.symbol)
    where = "WHERE source = ? AND notice_id = ? AND symbol = ?"
    for table in ("sights", "listings"):
        if connection.execute(f"SELECT 1 FROM {table} {where}", key).fetchone():
            _correct(connection, listing, member)
            return False
    reach_s = MARKET_REACH_S if listing.kind == MARKET_OPENED else NOTICE_REACH_S
    joined = None if listing.drill else connection.execute(
        "SELECT of_source, of_notice_id FROM sights WHERE symbol = ? AND exchange = ? AND source != ?"
        " AND (abs(seen_at_ns - ?) <= ? OR (kind = ? AND (notice_id = ? OR abs(published_at_ns - ?) <= ?)))"
        " AND NOT EXISTS (SELECT 1 FROM listings WHERE source = of_source AND notice_id = of_notice_id"
        " AND symbol = sights.symbol AND drill) ORDER BY seen_at_ns DESC LIMIT 1",
        (listing.symbol, listing.board, listing.source, listing.detected_at_ns, int(reach_s * NS_PER_S), listing.kind,
         listing.notice_id, listing.announced_at_ns, int(NOTICE_REACH_S * NS_PER_S))).fetchone()
    connection.execute(
        f"INSERT INTO sights ({FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?, ?)",
        (*key, listing.board, listing.kind, listing.detected_at_ns, listing.announced_at_ns, listing.title,
         *(joined or key[:2]), member))
    return joined is None


def _correct(connection: sqlite3.Connection, listing: Listing, member: str) -> None:
    """Move a known sight to an earlier time if another collector saw the same notice earlier."""
    values = (*listing.key, listing.detected_at_ns, listing.announced_at_ns)
    where = "WHERE source = ?1 AND notice_id = ?2 AND symbol = ?3"
    connection.execute(f"UPDATE sights SET seen_at_ns = ?4, published_at_ns = ?5, member = ?6 {where} AND seen_at_ns > ?4",
                       (*values, member))
    connection.execute("UPDATE listings SET detected_at_ns = ?4, announced_at_ns = ?5, triggered_at_ns = ?6"
                       f" {where} AND detected_at_ns > ?4", (*values, listing.triggered_at_ns))


def fields_of(connection: sqlite3.Connection) -> str:
    """Return the columns of a sight that a ledger has: an older version has no `member`."""
    names = {row[0] for row in connection.execute("SELECT name FROM pragma_table_info('sights')")}
    return ", ".join(name for name in FIELDS.split(", ") if name in names)
