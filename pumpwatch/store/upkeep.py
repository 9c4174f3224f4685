"""Keep the ledger small: delete rows that are too old or too many, a few in each transaction, the oldest first.

Quarantine has a quota of bytes; a write that exceeds it deletes twice as many rows as it adds, so that a flood of bad frames
does not make the file grow. Connection events have a maximum number. Both are deleted after RECORDS_KEPT_S at the latest. Filled
gaps are deleted after that time too; open and lost gaps stay, but if there are too many, the oldest of a venue become one gap.
A row that is deleted early leaves a gap with its venue and time: a loss is recorded less exactly, but never forgotten.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Gap, GapState
from pumpwatch.records import KEPT_BYTES, REFUSED_SLACK_NS, Quarantined
from pumpwatch.store.gap_fills import forget_fills

QUARANTINE_BYTES = 200_000_000
ROW_BYTES = 250  # about the size of a quarantine row without its payload, with its share of the indexes
EVENTS_KEPT = 200_000
GAPS_KEPT = 200_000
RECORDS_KEPT_S = 90 * 86_400.0
STEP_ROWS = 500  # most rows of one transaction
FORGOTTEN = "refused frames are not kept any more: the quarantine was full"
FOLDED = "older gaps, folded: too many to keep"


@dataclass(frozen=True, slots=True)
class Step:
    """The result of one transaction: the gaps of the deleted rows, and whether there are more rows to delete."""

    gaps: list[Gap] = field(default_factory=list)
    more: bool = False


class Upkeep:
    """The upkeep of one open ledger. Call its methods inside a transaction."""

    def __init__(self, quarantine_bytes: int = QUARANTINE_BYTES) -> None:
        self._quota = quarantine_bytes
        self._bytes: int | None = None  # the size of the quarantine; None: not measured yet
        self._forgotten: dict[tuple[str, str], int] = {}  # venue -> from_ns of the growing gap

    def measure_again(self) -> None:
        """Measure the quarantine before the next use, because another file is open."""
        self._bytes = None

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure the quarantine again after a failed transaction."""
        try:
            yield
        except BaseException:
            self._bytes = None
            raise

    def make_room(self, connection: sqlite3.Connection, added: Sequence[Quarantined]) -> list[Gap]:
        """Delete the oldest quarantine rows if the added rows exceed the quota; return the gaps of the deleted rows."""
        if self._bytes is None:
            self._bytes = _quarantine_bytes(connection)
        else:
            self._bytes += sum(min(len(row.payload), KEPT_BYTES) + ROW_BYTES for row in added)
        gaps: list[Gap] = []
        for _ in range(2 * len(added) // STEP_ROWS + 1):
            if self._bytes <= self._quota:
                break
            gaps += self._forget(connection, self._oldest(connection))
        return gaps

    def step(self, connection: sqlite3.Connection, now_ns: int) -> Step:
        """Delete a few of the rows that are due."""
        before_ns = now_ns - int(RECORDS_KEPT_S * NS_PER_S)
        gone = _forget_events(connection, before_ns)
        gone += connection.execute(
            "DELETE FROM quarantine WHERE rowid IN (SELECT rowid FROM quarantine WHERE at_ns < ? ORDER BY at_ns LIMIT ?)",
            (before_ns, STEP_ROWS)).rowcount
        self._bytes = _quarantine_bytes(connection)
        gaps: list[Gap] = []
        if self._bytes > self._quota:
            gaps = self._forget(connection, self._oldest(connection))
            gone += STEP_ROWS
        folded, settled = _fold_gaps(connection, before_ns)
        return Step(gaps + folded, gone + settled >= STEP_ROWS)

    def _oldest(self, connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
        return connection.execute("SELECT rowid, at_ns, exchange, market_type, size FROM quarantine"
                                  " INDEXED BY quarantine_age ORDER BY at_ns LIMIT ?", (STEP_ROWS,)).fetchall()

    def _forget(self, connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> list[Gap]:
        """Delete these rows until the rest fits the quota; return the gaps of the deleted rows."""
        venues: dict[tuple[str, str], int] = {}
        gone: list[tuple[int]] = []
        for rowid, at_ns, exchange, market_type, size in rows:
            if (self._bytes or 0) <= self._quota:
                break
            self._bytes = (self._bytes or 0) - min(size, KEPT_BYTES) - ROW_BYTES
            gone.append((rowid,))
            venues[exchange, market_type] = max(at_ns, venues.get((exchange, market_type), at_ns))
            self._forgotten.setdefault((exchange, market_type), at_ns - REFUSED_SLACK_NS)
        connection.executemany("DELETE FROM quarantine WHERE rowid = ?", gone)
        return [Gap(exchange=venue[0], market_type=venue[1], from_ns=min(self._forgotten[venue], last_ns),
                    to_ns=last_ns + 1, reason=FORGOTTEN) for venue, last_ns in venues.items()]


def _quarantine_bytes(connection: sqlite3.Connection) -> int:
    return int(connection.execute(f"SELECT ifnull(sum(min(size, {KEPT_BYTES}) + {ROW_BYTES}), 0) FROM quarantine"
                                  " INDEXED BY quarantine_age").fetchone()[0])


def _forget_events(connection: sqlite3.Connection, before_ns: int) -> int:
    surplus = connection.execute("SELECT count(*) FROM connection_events").fetchone()[0] - EVENTS_KEPT
    return connection.execute(
        "DELETE FROM connection_events WHERE rowid IN (SELECT rowid FROM connection_events WHERE at_ns < ?"
        " ORDER BY at_ns LIMIT ?)", (2**63 - 1 if surplus > 0 else before_ns,
                                     min(surplus, STEP_ROWS) if surplus > 0 else STEP_ROWS)).rowcount


def _fold_gaps(connection: sqlite3.Connection, before_ns: int) -> tuple[list[Gap], int]:
    """Delete old filled gaps; if there are none and too many gaps are left, join the oldest gaps of each venue."""
    columns = "id, exchange, market_type, from_ns, to_ns, state, symbols_key"
    gone = connection.execute(f"SELECT {columns} FROM gaps INDEXED BY gaps_filled WHERE to_ns < ? AND state = 'filled'"
                              " ORDER BY to_ns LIMIT ?", (before_ns, STEP_ROWS)).fetchall()
    if not gone and connection.execute("SELECT count(*) FROM gaps").fetchone()[0] > GAPS_KEPT:
        gone = connection.execute(f"SELECT {columns} FROM gaps INDEXED BY gaps_time ORDER BY to_ns LIMIT ?",
                                  (STEP_ROWS,)).fetchall()
    venues: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
    for _, exchange, market_type, from_ns, to_ns, state, _ in gone:
        if state != GapState.FILLED:
            venues.setdefault((exchange, market_type), []).append((from_ns, to_ns, state))
    forget_fills(connection, [row[0] for row in gone])
    connection.executemany("DELETE FROM gaps WHERE id = ?", [(row[0],) for row in gone])
    connection.executemany("DELETE FROM gap_symbols WHERE digest = ?1 AND NOT EXISTS"
                           " (SELECT 1 FROM gaps WHERE symbols_key = ?1 AND symbols_key != '')",
                           [(digest,) for digest in {row[6] for row in gone} - {""}])
    return [Gap(exchange=exchange, market_type=market_type, from_ns=min(row[0] for row in rows),
                to_ns=max(row[1] for row in rows), reason=FOLDED,
                state=GapState.OPEN if any(row[2] == GapState.OPEN for row in rows) else GapState.LOST)
            for (exchange, market_type), rows in venues.items()], len(gone)
