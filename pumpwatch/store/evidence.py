"""The ledger's evidence of each sight of a listing: the raw notice, the facts of its answer, and its body.

A row is kept when a source first shows a notice (`seen`), when the notice has changed (`edited`), and when its body is read
(`body`), but only if the notice is a sight of a listing. `facts` is a JSON object.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

SEEN, EDITED, BODY = "seen", "edited", "body"
MOST = 200  # most rows of one notice; later rows are not kept


@dataclass(frozen=True, slots=True)
class Evidence:
    """A notice as one source showed it at one time. facts: plain data, see `listing.notice_file`."""

    source: str
    notice_id: str
    at_ns: int
    event: str
    facts: dict[str, Any]


def keep_evidence(connection: sqlite3.Connection, rows: Sequence[Evidence]) -> None:
    """Store the rows whose notices are sights of listings. Repeating this is harmless. Call it inside a transaction."""
    connection.executemany(
        "INSERT OR IGNORE INTO evidence SELECT ?1, ?2, ?3, ?4, ?5"
        " WHERE EXISTS (SELECT 1 FROM sights WHERE source = ?1 AND notice_id = ?2)"
        " AND (SELECT count(*) FROM evidence WHERE source = ?1 AND notice_id = ?2) < ?6",
        [(row.source, row.notice_id, row.at_ns, row.event, msgspec.json.encode(row.facts).decode(), MOST) for row in rows])


def read_evidence(connection: sqlite3.Connection, of_source: str, of_notice_id: str, symbol: str) -> list[Evidence]:
    """Return the evidence of all sights of one listing, oldest first; an empty list for a ledger of an older version."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'evidence'").fetchone():
        return []
    rows = connection.execute(
        "SELECT source, notice_id, at_ns, event, facts FROM evidence WHERE (source, notice_id) IN (SELECT source, notice_id"
        " FROM sights WHERE of_source = ? AND of_notice_id = ? AND symbol = ?) ORDER BY at_ns, source, event",
        (of_source, of_notice_id, symbol))
    return [Evidence(row[0], row[1], row[2], row[3], msgspec.json.decode(row[4])) for row in rows]
