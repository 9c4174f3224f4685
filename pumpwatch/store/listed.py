"""The ledger's tables of notice boards: notices as last seen, listings, and their archives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pumpwatch.model import Listing, Notice

_FIELDS = "source, notice_id, symbol, title, announced_at_ns, detected_at_ns, triggered_at_ns, needs_body, drill"


@dataclass(frozen=True, slots=True)
class ListingRecord:
    """A listing and its archive; `archive` is empty and `trades` None until its window has closed.

    `problem`: the reason why it has no archive, or an incomplete one; empty where the archive is complete.
    """

    listing: Listing
    archive: str
    trades: int | None
    problem: str = ""


class ListedRows:
    """A part of the ledger. Many rows go into one statement as one JSON text, since a board may list thousands at once."""

    def _rows(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def _change(self, sql: str, values: Sequence[object]) -> int:
        raise NotImplementedError

    def seen_notices(self, source: str, notice_ids: Sequence[str]) -> dict[str, str]:
        """Return the last remembered revision of each known notice, by id."""
        return dict(self._rows("SELECT notice_id, revision FROM notices WHERE source = ?"
                               " AND notice_id IN (SELECT value FROM json_each(?))", (source, _text(notice_ids))))

    def remember_notices(self, notices: Sequence[tuple[Notice, str, str]]) -> None:
        """Store notices as last seen, each with the kind of its verdict and its revision: all of them or none."""
        rows = [(notice.source, notice.notice_id, notice.title, notice.category, notice.published_at_ns, notice.updated_at_ns,
                 notice.url, kind, revision) for notice, kind, revision in notices]
        self._change("INSERT OR REPLACE INTO notices (source, notice_id, title, category, published_at_ns, updated_at_ns, url,"
                     f" verdict_kind, revision) {_select(9)}", (_text(rows),))

    def remember_listing(self, listing: Listing) -> bool:
        """Store a listing; return False, and change nothing, where it is known."""
        return self._remember([listing], None, "") == 1

    def remember_unopened(self, listings: Sequence[Listing], problem: str) -> None:
        """Store listings for which no window is opened, with the reason; known ones are left unchanged."""
        self._remember(listings, 0, problem)

    def _remember(self, listings: Sequence[Listing], trades: int | None, problem: str) -> int:
        rows = [(listing.source, listing.notice_id, listing.symbol, listing.title, listing.announced_at_ns,
                 listing.detected_at_ns, listing.triggered_at_ns, int(listing.needs_body), int(listing.drill), "", trades,
                 problem) for listing in listings]
        return self._change(f"INSERT OR IGNORE INTO listings ({_FIELDS}, archive, trades, problem) {_select(12)}",
                            (_text(rows),))

    def finish_listing(self, source: str, notice_id: str, symbol: str, archive: str, trades: int,
                       problem: str = "") -> None:
        """Store a listing's archive and its number of trades, and the problem where it is not complete."""
        self._change("UPDATE listings SET archive = ?, trades = ?, problem = ?"
                     " WHERE source = ? AND notice_id = ? AND symbol = ?",
                     (archive, trades, problem, source, notice_id, symbol))

    def listings(self, unfinished_only: bool = False) -> list[ListingRecord]:
        """Return the listings, ordered by the time of detection."""
        where = "WHERE trades IS NULL" if unfinished_only else ""
        # all columns in their order: a ledger of an older version lacks the last ones
        rows = self._rows(f"SELECT * FROM listings {where} ORDER BY detected_at_ns, symbol", ())
        return [ListingRecord(Listing(source=row[0], notice_id=row[1], symbol=row[2], title=row[3],
                                      announced_at_ns=row[4], detected_at_ns=row[5], triggered_at_ns=row[6],
                                      needs_body=bool(row[7]), drill=bool(row[11]) if len(row) > 11 else False),
                              *row[8:11]) for row in rows]

    def forget_notices(self, source: str, keep: int) -> None:
        """Forget all but the newest `keep` notices of a source, and all but as many of its listings without a window."""
        for table, which in (("notices", ""), ("listings", " AND problem != '' AND archive = ''")):
            self._change(f"DELETE FROM {table} WHERE source = ?{which} AND rowid <= (SELECT rowid FROM {table}"
                         f" WHERE source = ?{which} ORDER BY rowid DESC LIMIT 1 OFFSET ?)", (source, source, keep))


def _text(values: Sequence[object]) -> str:
    return msgspec.json.encode(values).decode()


def _select(columns: int) -> str:
    return f"SELECT {', '.join(f'json_extract(value, {chr(39)}$[{at}]{chr(39)})' for at in range(columns))} FROM json_each(?)"
