"""The ledger's table of fills: what a venue's history had for each symbol of a gap.

A row names its gap by the columns that identify a gap, not by its number, so that both survive the loss of the file together.
A fill of a gap that has grown since does not count: its `to_ns` is less than the gap's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from pumpwatch.model import GapState
from pumpwatch.records import GapFill

COLUMNS = ("exchange", "market_type", "gap_symbol", "from_ns", "first_id", "last_id", "symbols_key", "symbol", "to_ns", "state",
           "found", "missing", "by", "reason", "lost_from_ns", "lost_to_ns", "at_ns")
NO_ID = -1
SAME_GAP = ("gap_fills.exchange = gaps.exchange AND gap_fills.market_type = gaps.market_type"
            " AND gap_fills.gap_symbol = gaps.symbol AND gap_fills.from_ns = gaps.from_ns"
            " AND gap_fills.first_id = ifnull(gaps.first_id, -1) AND gap_fills.last_id = ifnull(gaps.last_id, -1)"
            " AND gap_fills.symbols_key = gaps.symbols_key")
FilledRow = tuple[int, str, int, str, int, int, str, str, int, int, int]  # the gap's id, then a fill's own columns


def write_fills(connection: sqlite3.Connection, fills: Sequence[GapFill],
                key_of: Callable[[tuple[str, ...]], str]) -> None:
    """Store fills; a symbol's newer fill of the same gap replaces the older one. `key_of` gives a set of symbols its key."""
    connection.executemany(
        f"INSERT OR REPLACE INTO gap_fills ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})",
        [(fill.gap.exchange, fill.gap.market_type, fill.gap.symbol, fill.gap.from_ns,
          NO_ID if fill.gap.first_id is None else fill.gap.first_id, NO_ID if fill.gap.last_id is None else fill.gap.last_id,
          key_of(fill.gap.symbols), fill.symbol, fill.gap.to_ns, fill.state.value, fill.found, fill.missing, fill.by,
          fill.reason, fill.lost_from_ns, fill.lost_to_ns, fill.at_ns) for fill in fills])


def read_fills(connection: sqlite3.Connection, where: str, values: Sequence[object]) -> list[FilledRow]:
    """Return the fills that count, of the gaps that a condition on `gaps` names."""
    own = ", ".join(f"gap_fills.{name}" for name in COLUMNS[7:])
    return connection.execute(
        f"SELECT gaps.id, {own} FROM gaps CROSS JOIN gap_fills ON {SAME_GAP} AND gap_fills.to_ns >= gaps.to_ns {where}"
        " ORDER BY gaps.from_ns, gaps.id, gap_fills.symbol", values).fetchall()


def forget_fills(connection: sqlite3.Connection, gap_ids: Sequence[int]) -> None:
    """Delete the fills of gaps that are about to be deleted."""
    connection.executemany(f"DELETE FROM gap_fills WHERE rowid IN (SELECT gap_fills.rowid FROM gaps CROSS JOIN gap_fills ON"
                           f" {SAME_GAP} WHERE gaps.id = ?)", [(number,) for number in gap_ids])


def state_of(text: str) -> GapState:
    """Return a state by its text. Raises ValueError for a damaged one."""
    return GapState(text)
