"""The ledger's part about notice boards: notices as last seen, listings, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pumpwatch.model import Listing, Notice

_FIELDS = "source, notice_id, symbol, title, announced_at_ns, detected_at_ns, triggered_at_ns, needs_body"


@dataclass(frozen=True, slots=True)
class ListingRecord:
    """A listing and what became of it: archive is empty and trades None until its window has closed.

    problem: why there is no archive of it, or none that can be relied on; empty where all is well.
    """

    listing: Listing
    archive: str
    trades: int | None
    problem: str = ""


class ListedRows:
    """What the ledger inherits. Many rows go in one statement, as one JSON text: a board may list thousands at once."""

    def _rows(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def _change(self, sql: str, values: Sequence[object]) -> int:
        raise NotImplementedError

    def seen_notices(self, source: str, notice_ids: Sequence[str]) -> dict[str, str]:
        """Return the revision last remembered of each notice that is known."""
        return dict(self._rows("SELECT notice_id, revision FROM notices WHERE source = ?"
                               " AND notice_id IN (SELECT value FROM json_each(?))", (source, _text(notice_ids))))

    def remember_notices(self, notices: Sequence[tuple[Notice, str, str]]) -> None:
        """Store notices as last seen, each with the kind of its verdict and its revision: all of them or none."""
        rows = [(one.source, one.notice_id, one.title, one.category, one.published_at_ns, one.updated_at_ns, one.url,
                 kind, revision) for one, kind, revision in notices]
        self._change("INSERT OR REPLACE INTO notices (source, notice_id, title, category, published_at_ns, updated_at_ns, url,"
                     f" verdict_kind, revision) {_select(9)}", (_text(rows),))

    def remember_listing(self, listing: Listing) -> bool:
        """Store a listing; return False, and change nothing, when it is known already."""
        return self._remember([listing], None, "") == 1

    def remember_unopened(self, listings: Sequence[Listing], problem: str) -> None:
        """Store listings for which no window is opened, with the reason; a known one is left as it is."""
        self._remember(listings, 0, problem)

    def _remember(self, listings: Sequence[Listing], trades: int | None, problem: str) -> int:
        rows = [(one.source, one.notice_id, one.symbol, one.title, one.announced_at_ns, one.detected_at_ns,
                 one.triggered_at_ns, int(one.needs_body), "", trades, problem) for one in listings]
        return self._change(f"INSERT OR IGNORE INTO listings ({_FIELDS}, archive, trades, problem) {_select(11)}",
                            (_text(rows),))

    def finish_listing(self, source: str, notice_id: str, symbol: str, archive: str, trades: int,
                       problem: str = "") -> None:
        """Say where a listing's archive is and how many trades are in it, or why there is none to rely on."""
        self._change("UPDATE listings SET archive = ?, trades = ?, problem = ?"
                     " WHERE source = ? AND notice_id = ? AND symbol = ?",
                     (archive, trades, problem, source, notice_id, symbol))

    def listings(self, unfinished_only: bool = False) -> list[ListingRecord]:
        """Return the listings by the time they were detected."""
        where = "WHERE trades IS NULL" if unfinished_only else ""
        # all columns in their order: the ledger of an older version lacks the last
        rows = self._rows(f"SELECT * FROM listings {where} ORDER BY detected_at_ns, symbol", ())
        return [ListingRecord(Listing(source=row[0], notice_id=row[1], symbol=row[2], title=row[3],
                                      announced_at_ns=row[4], detected_at_ns=row[5], triggered_at_ns=row[6],
                                      needs_body=bool(row[7])), *row[8:]) for row in rows]

    def forget_notices(self, source: str, keep: int) -> None:
        """Forget all but the newest `keep` notices of a source, and of its listings that opened no window."""
        for table, which in (("notices", ""), ("listings", " AND problem != '' AND archive = ''")):
            self._change(f"DELETE FROM {table} WHERE source = ?{which} AND rowid <= (SELECT rowid FROM {table}"
                         f" WHERE source = ?{which} ORDER BY rowid DESC LIMIT 1 OFFSET ?)", (source, source, keep))


def _text(values: Sequence[object]) -> str:
    return msgspec.json.encode(values).decode()


def _select(columns: int) -> str:
    return f"SELECT {', '.join(f'json_extract(value, {chr(39)}$[{at}]{chr(39)})' for at in range(columns))} FROM json_each(?)"
