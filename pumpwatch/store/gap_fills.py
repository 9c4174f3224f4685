"""The ledger's table of fills: the result of the backfill for each symbol of a gap.

A row names its gap by the columns that identify a gap, not by its number, so that both survive the loss of the file together.
A fill is void if its gap has grown since: its `to_ns` is less than the gap's.

A gap of a whole venue has a fill for each symbol, most of which missed nothing. Once the gap is filled, these fills become one
row with an empty `symbol` and their names in `symbols`. Readers still get a fill for each symbol.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from pumpwatch.model import Gap, GapState
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
    """Store fills; a symbol's newer fill of a gap replaces the older one. key_of: returns the key of a set of symbols."""
    connection.executemany(
        f"INSERT OR REPLACE INTO gap_fills ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})",
        [(fill.gap.exchange, fill.gap.market_type, fill.gap.symbol, fill.gap.from_ns,
          NO_ID if fill.gap.first_id is None else fill.gap.first_id, NO_ID if fill.gap.last_id is None else fill.gap.last_id,
          key_of(fill.gap.symbols), fill.symbol, fill.gap.to_ns, fill.state.value, fill.found, fill.missing, fill.by,
          fill.reason, fill.lost_from_ns, fill.lost_to_ns, fill.at_ns) for fill in fills])


def join_fills(connection: sqlite3.Connection, gap: Gap, symbols_key: str) -> None:
    """Join into one row the fills of a filled gap that missed nothing, by the same proof."""
    key = (gap.exchange, gap.market_type, gap.symbol, gap.from_ns, NO_ID if gap.first_id is None else gap.first_id,
           NO_ID if gap.last_id is None else gap.last_id, symbols_key)
    rows = connection.execute(
        "SELECT gap_fills.rowid, gap_fills.symbol, gap_fills.symbols, gap_fills.by, gap_fills.to_ns, gap_fills.at_ns"
        f" FROM gap_fills CROSS JOIN gaps ON {SAME_GAP} AND gap_fills.to_ns >= gaps.to_ns AND gaps.state = 'filled'"
        f" WHERE {' AND '.join(f'gap_fills.{name} = ?' for name in COLUMNS[:7])} AND gap_fills.state = 'filled'"
        " AND gap_fills.found = 0 AND gap_fills.missing = 0 AND gap_fills.reason = '' AND gap_fills.lost_to_ns = 0",
        key).fetchall()
    proofs = [row[3] for row in rows if not row[1]] or [proof for proof, _ in Counter(row[3] for row in rows).most_common(1)]
    same = [row for row in rows if row[3] in proofs]
    if len(same) < 2:
        return
    names = sorted({name for row in same for name in ((row[1],) if row[1] else _names(row[2]))})
    connection.executemany("DELETE FROM gap_fills WHERE rowid = ?", [(row[0],) for row in same])
    connection.execute(
        f"INSERT OR REPLACE INTO gap_fills ({', '.join(COLUMNS)}, symbols) VALUES ({', '.join('?' * (len(COLUMNS) + 1))})",
        (*key, "", min(row[4] for row in same), GapState.FILLED.value, 0, 0, proofs[0], "", 0, 0, max(row[5] for row in same),
         msgspec.json.encode(names).decode()))


def read_fills(connection: sqlite3.Connection, where: str, values: Sequence[object], *, joined: bool = True) -> list[FilledRow]:
    """Return the valid fills of the gaps that match a condition on `gaps`, one row per symbol.

    joined: whether the file has the column for joined fills.
    """
    own = ", ".join([*(f"gap_fills.{name}" for name in COLUMNS[7:]), "gap_fills.symbols" if joined else "''"])
    rows = connection.execute(
        f"SELECT gaps.id, {own} FROM gaps CROSS JOIN gap_fills ON {SAME_GAP} AND gap_fills.to_ns >= gaps.to_ns {where}"
        " ORDER BY gaps.from_ns, gaps.id, gap_fills.symbol", values).fetchall()
    found: list[FilledRow] = []
    single = {(row[0], row[1]) for row in rows} if any(row[-1] for row in rows) else set()
    for number, symbol, *rest, symbols in rows:
        found += [(number, name, *rest) for name in ((symbol,) if not symbols else _names(symbols))
                  if not symbols or (number, name) not in single]
    return found


def _names(text: str) -> list[str]:
    return msgspec.json.decode(text, type=list[str])


def forget_fills(connection: sqlite3.Connection, gap_ids: Sequence[int]) -> None:
    """Delete the fills of gaps that are about to be deleted."""
    connection.executemany(f"DELETE FROM gap_fills WHERE rowid IN (SELECT gap_fills.rowid FROM gaps CROSS JOIN gap_fills ON"
                           f" {SAME_GAP} WHERE gaps.id = ?)", [(number,) for number in gap_ids])
