"""The ledger's tables of notices, listings, their sights and their archives."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from pumpwatch.model import Listing, Notice
from pumpwatch.store.evidence import Evidence, keep_evidence, read_evidence
from pumpwatch.store.sights import FIELDS, Sight, fields_of, keep_sight
from pumpwatch.store.sqlite import transaction

T = TypeVar("T")

_NAMES = ("source", "notice_id", "symbol", "title", "announced_at_ns", "detected_at_ns", "triggered_at_ns", "needs_body",
          "exchange", "kind", "drill")


@dataclass(frozen=True, slots=True)
class ListingRecord:
    """A listing and its archive. `archive` is empty and `trades` is None until the window has closed.

    problem: why the archive is missing or incomplete; empty if it is complete.
    """

    listing: Listing
    archive: str
    trades: int | None
    problem: str = ""


class ListedRows:
    """A part of the ledger. A statement takes many rows as one JSON text, because a board may list thousands at once."""

    def _run(self, doing: str, work: Callable[[sqlite3.Connection], T]) -> T:
        raise NotImplementedError

    def _rows(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def _change(self, sql: str, values: Sequence[object]) -> int:
        raise NotImplementedError

    def seen_notices(self, source: str, notice_ids: Sequence[str]) -> dict[str, str]:
        """Return the last stored revision of each known notice, by id."""
        return dict(self._rows("SELECT notice_id, revision FROM notices WHERE source = ?"
                               " AND notice_id IN (SELECT value FROM json_each(?))", (source, _text(notice_ids))))

    def remember_notices(self, notices: Sequence[tuple[Notice, str, str]]) -> None:
        """Store the latest state of notices, each with the kind of its verdict and its revision: all of them or none."""
        rows = [(notice.source, notice.notice_id, notice.title, notice.category, notice.published_at_ns, notice.updated_at_ns,
                 notice.url, kind, revision) for notice, kind, revision in notices]
        self._change("INSERT OR REPLACE INTO notices (source, notice_id, title, category, published_at_ns, updated_at_ns, url,"
                     f" verdict_kind, revision) {_select(9)}", (_text(rows),))

    def remember_listing(self, listing: Listing, member: str = "") -> bool:
        """Store a sight of a listing; return whether it is the first one, in which case the new listing is stored too.

        member: the collector that saw it, in a cluster.
        """
        return self._keep(listing, None, "", member)

    def remember_missed(self, listing: Listing, problem: str, member: str = "") -> bool:
        """Do the same as `remember_listing` for a listing that gets no window, with the reason."""
        return self._keep(listing, 0, problem, member)

    def _keep(self, listing: Listing, trades: int | None, problem: str, member: str) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            with transaction(connection):
                first = keep_sight(connection, listing, member)
                if first:
                    connection.execute(*_insert([listing], trades, problem))
                return first
        return self._run("write", work)

    def remember_unopened(self, listings: Sequence[Listing], problem: str) -> None:
        """Store listings that get no window, with the reason; known listings stay unchanged."""
        self._change(*_insert(listings, 0, problem))
        rows = [(listing.source, listing.notice_id, listing.symbol, listing.board, listing.kind, listing.detected_at_ns,
                 listing.announced_at_ns, listing.title, 0, 0, listing.source, listing.notice_id, "") for listing in listings]
        self._change(f"INSERT OR IGNORE INTO sights ({FIELDS}) {_select(13)}", (_text(rows),))

    def first_sight(self, listing: Listing) -> Sight | None:
        """Return the earliest sight of the listing that this sight belongs to, None if unknown."""
        found = self._rows(
            f"SELECT {self._sight_fields()} FROM sights WHERE (of_source, of_notice_id, symbol) = ("
            "SELECT of_source, of_notice_id, symbol FROM sights WHERE source = ? AND notice_id = ? AND symbol = ?)"
            " ORDER BY seen_at_ns LIMIT 1",
            (listing.source, listing.notice_id, listing.symbol))
        return Sight(*found[0]) if found else None

    def sights_of(self, listing: Listing) -> list[Sight]:
        """Return the sights of a listing, the earliest first."""
        return [Sight(*row) for row in self._rows(
            f"SELECT {self._sight_fields()} FROM sights WHERE of_source = ? AND of_notice_id = ? AND symbol = ?"
            " ORDER BY seen_at_ns, source",
            (listing.source, listing.notice_id, listing.symbol))]

    def keep_evidence(self, rows: Sequence[Evidence]) -> None:
        """Store the evidence that belongs to sights of listings: all of it or none."""
        def work(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                keep_evidence(connection, rows)
        self._run("write", work)

    def evidence_of(self, listing: Listing) -> list[Evidence]:
        """Return the evidence of a listing, the oldest first."""
        return self._run("read", lambda connection: read_evidence(connection, listing.source, listing.notice_id, listing.symbol))

    def edit_sights(self, notice: Notice, seen_at_ns: int) -> None:
        """Record the edit of a notice if it is a sight of a listing."""
        self._change("UPDATE sights SET title = ?, edits = edits + 1, edited_at_ns = ? WHERE source = ? AND notice_id = ?",
                     (notice.title, seen_at_ns, notice.source, notice.notice_id))

    def sights(self) -> list[Sight]:
        """Return every sight, the earliest first; an empty list for a ledger of an older version."""
        if not self._rows("SELECT 1 FROM sqlite_master WHERE name = 'sights'", ()):
            return []
        return [Sight(*row) for row in self._rows(f"SELECT {self._sight_fields()} FROM sights ORDER BY seen_at_ns, source", ())]

    def _sight_fields(self) -> str:
        return self._run("read", fields_of)

    def finish_listing(self, source: str, notice_id: str, symbol: str, archive: str, trades: int,
                       problem: str = "") -> None:
        """Store a listing's archive, its number of trades, and the problem if it is incomplete."""
        self._change("UPDATE listings SET archive = ?, trades = ?, problem = ?"
                     " WHERE source = ? AND notice_id = ? AND symbol = ?",
                     (archive, trades, problem, source, notice_id, symbol))

    def listings(self, unfinished_only: bool = False) -> list[ListingRecord]:
        """Return the listings, ordered by the time of detection."""
        where = "WHERE trades IS NULL" if unfinished_only else ""
        # by name: a ledger of an older version does not have every column
        names = [row[0] for row in self._rows("SELECT name FROM pragma_table_info('listings')", ())]
        found = []
        for row in self._rows(f"SELECT {', '.join(names)} FROM listings {where} ORDER BY detected_at_ns, symbol", ()):
            named = dict(zip(names, row, strict=True))
            fields = {name: named[name] for name in _NAMES if name in named} | {
                "needs_body": bool(named["needs_body"]), "drill": bool(named.get("drill", 0))}
            found.append(ListingRecord(Listing(**fields), named["archive"], named["trades"], named.get("problem", "")))
        return found

    def forget_notices(self, source: str, keep: int) -> None:
        """Forget all but the newest `keep` notices of a source, and all but the newest `keep` listings without a window."""
        for table, which in (("notices", ""), ("listings", " AND problem != '' AND archive = ''")):
            self._change(f"DELETE FROM {table} WHERE source = ?{which} AND rowid <= (SELECT rowid FROM {table}"
                         f" WHERE source = ?{which} ORDER BY rowid DESC LIMIT 1 OFFSET ?)", (source, source, keep))
        self._change("DELETE FROM sights WHERE source = ? AND NOT EXISTS (SELECT 1 FROM listings WHERE source = of_source"
                     " AND notice_id = of_notice_id AND symbol = sights.symbol)", (source,))
        self._change("DELETE FROM evidence WHERE source = ? AND NOT EXISTS (SELECT 1 FROM sights WHERE sights.source = ?"
                     " AND sights.notice_id = evidence.notice_id)", (source, source))


def _insert(listings: Sequence[Listing], trades: int | None, problem: str) -> tuple[str, tuple[str]]:
    """Return the statement that stores unknown listings, and its values."""
    rows = [(listing.source, listing.notice_id, listing.symbol, listing.title, listing.announced_at_ns,
             listing.detected_at_ns, listing.triggered_at_ns, int(listing.needs_body), listing.exchange, listing.kind,
             int(listing.drill), "", trades, problem) for listing in listings]
    return f"INSERT OR IGNORE INTO listings ({', '.join(_NAMES)}, archive, trades, problem) {_select(14)}", (_text(rows),)


def _text(values: Sequence[object]) -> str:
    return msgspec.json.encode(values).decode()


def _select(columns: int) -> str:
    return f"SELECT {', '.join(f'json_extract(value, {chr(39)}$[{at}]{chr(39)})' for at in range(columns))} FROM json_each(?)"
