"""Copy the readable rows of a damaged ledger to a new one.

Each table is read by row number from both ends up to the damage, then row by row across it. A row is copied if every value has
the right type; neither SQLite nor this module detects more damage.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from pumpwatch.model import GapState
from pumpwatch.store.sqlite import connect, transaction

PART_ROWS = 500
TRIED_ROWS = 100_000  # row numbers that are tried across a damaged part; the rest is given up
HOPELESS_ROWS = 3_000  # failures in a row after which the rest counts as unreadable
_HIGHEST = 2**63 - 1

log = logging.getLogger(__name__)

_Row = tuple[Any, ...]
_OPTIONAL = {"first_id", "last_id", "trades"}
_STATES = frozenset(GapState)
TABLES: dict[str, dict[str, type]] = {
    "listings": {"source": str, "notice_id": str, "symbol": str, "title": str, "announced_at_ns": int,
                 "detected_at_ns": int, "triggered_at_ns": int, "needs_body": int, "archive": str, "trades": int,
                 "problem": str, "exchange": str, "kind": str, "drill": int},
    "evidence": {"source": str, "notice_id": str, "at_ns": int, "event": str, "facts": str},
    "sights": {"source": str, "notice_id": str, "symbol": str, "exchange": str, "kind": str, "seen_at_ns": int,
               "published_at_ns": int, "title": str, "edits": int, "edited_at_ns": int, "of_source": str, "of_notice_id": str,
               "member": str},
    "notices": {"source": str, "notice_id": str, "title": str, "category": str, "published_at_ns": int,
                "updated_at_ns": int, "url": str, "verdict_kind": str, "revision": str},
    "gap_symbols": {"digest": str, "symbols": str},
    "gaps": {"exchange": str, "market_type": str, "symbol": str, "from_ns": int, "to_ns": int, "first_id": int,
             "last_id": int, "reason": str, "state": str, "note": str, "symbols_key": str},
    "gap_fills": {"exchange": str, "market_type": str, "gap_symbol": str, "from_ns": int, "first_id": int, "last_id": int,
                  "symbols_key": str, "symbol": str, "to_ns": int, "state": str, "found": int, "missing": int, "by": str,
                  "reason": str, "lost_from_ns": int, "lost_to_ns": int, "at_ns": int, "symbols": str},
    "connection_events": {"at_ns": int, "exchange": str, "market_type": str, "connection": int, "event": str,
                          "reason": str},
    "quarantine": {"at_ns": int, "exchange": str, "market_type": str, "reason": str, "digest": int, "nth": int,
                   "size": int, "payload": bytes},
    "first_looks": {"source": str},
    "messages": {"channel": str, "event_id": str, "event": str, "made_at_ns": int, "tries": int, "next_at_ns": int},
    "told": {"event_id": str, "at_ns": int},
}
# tables that older ledgers do not have
_ADDED = {"gap_symbols", "first_looks", "gap_fills", "sights", "messages", "told", "evidence"}


@dataclass(slots=True)
class Kept:
    """The number of rows copied by table, and the tables with an unreadable part."""

    rows: dict[str, int] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return " ".join(f"{table}={count}" for table, count in self.rows.items() if table not in _ADDED)


def salvage_file(path: Path, target: sqlite3.Connection) -> Kept:
    """Copy the readable rows of a file that was set aside. Raises sqlite3.Error if the target fails."""
    try:
        _lengthen(path)
        source = connect(path, read_only=True)
    except (sqlite3.Error, OSError):
        return _salvage(None, target)
    try:
        return _salvage(source, target)
    finally:
        source.close()
        _tidy(path)


def _tidy(path: Path) -> None:
    """Remove the files that reading left beside the database."""
    log_file = path.with_name(path.name + "-wal")
    try:
        path.with_name(path.name + "-shm").unlink(missing_ok=True)
        if log_file.exists() and not log_file.stat().st_size:
            log_file.unlink()
    except OSError as error:
        log.debug("files beside a damaged ledger not removed file=%s reason=%s", path.name, error)


def _lengthen(path: Path) -> None:
    """Extend a truncated file with zeros to its full length, because SQLite reads nothing of a file with missing pages."""
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) == 100 and header.startswith(b"SQLite format 3\0"):
        page_bytes, pages = struct.unpack(">H", header[16:18])[0], struct.unpack(">I", header[28:32])[0]
        length = (65536 if page_bytes == 1 else page_bytes) * pages
        if path.stat().st_size < length:
            os.truncate(path, length)


def _salvage(source: sqlite3.Connection | None, target: sqlite3.Connection) -> Kept:
    """Copy the readable rows; existing rows of the target stay unchanged. Raises sqlite3.Error if the target fails."""
    kept = Kept()
    for table, kinds in TABLES.items():
        kept.rows[table] = 0
        there = _columns(source, table)
        columns = [name for name in kinds if name in there]
        if source is None or not columns:
            if table not in _ADDED or not _is_older(source):
                kept.broken.add(table)
            continue
        walk = _Walk(source, f"SELECT rowid, {', '.join(columns)} FROM {table} NOT INDEXED")
        insert = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        for part in walk.parts():
            good = [row[1:] for row in part if _is_sound(columns, kinds, row[1:])]
            if len(good) < len(part):
                kept.broken.add(table)
            with transaction(target):
                kept.rows[table] += target.executemany(insert, good).rowcount
        if walk.broken:
            kept.broken.add(table)
    if {"notices", "first_looks"} & kept.broken:
        with transaction(target):
            target.execute("DELETE FROM first_looks")
            target.execute("INSERT INTO first_looks VALUES ('*')")
    return kept


def _columns(source: sqlite3.Connection | None, table: str) -> set[str]:
    try:
        return {row[1] for row in source.execute(f"PRAGMA table_info({table})")} if source else set()
    except sqlite3.Error:
        return set()


def _is_older(source: sqlite3.Connection | None) -> bool:
    """Return whether the ledger is readable, in which case a missing table means an older version."""
    return bool(_columns(source, "gaps"))


def _is_sound(columns: list[str], kinds: dict[str, type], row: _Row) -> bool:
    for name, value in zip(columns, row, strict=True):
        if value is None and name in _OPTIONAL:
            continue
        if type(value) is not kinds[name] or (name == "state" and value not in _STATES):
            return False
        if name == "symbols" and isinstance(value, str) and value and not _is_names(value):
            return False
    return True


def _is_names(text: str) -> bool:
    """Return whether a text is a JSON list of names; readers treat any other text as damage."""
    try:
        msgspec.json.decode(text, type=list[str])
    except ValueError:
        return False
    return True


class _Walk:
    """Reads one table around its damage."""

    def __init__(self, source: sqlite3.Connection, select: str) -> None:
        self._source, self._select = source, select
        self.broken = False
        self._failed = 0  # consecutive rows

    def parts(self) -> Iterator[list[_Row]]:
        """Yield lists of readable rows, each row once."""
        low = -_HIGHEST - 1
        for part in self._scan("rowid > ? AND rowid < ? ORDER BY rowid", low, _HIGHEST):
            low = part[-1][0]
            yield part
        if not self.broken:
            return
        high = _HIGHEST
        for part in self._scan("rowid > ? AND rowid < ? ORDER BY rowid DESC", low, high):
            high = part[-1][0]
            yield part
        first = max(low + 1, 1)
        for start in range(first, min(high, first + TRIED_ROWS), PART_ROWS):
            if part := self._one_by_one(start, min(start + PART_ROWS, high)):
                yield part
            if self._failed >= HOPELESS_ROWS:
                return

    def _scan(self, where: str, low: int, high: int) -> Iterator[list[_Row]]:
        """Yield lists of rows in order, up to the first unreadable row."""
        while True:
            part: list[_Row] = []
            try:
                for row in self._source.execute(f"{self._select} WHERE {where} LIMIT {PART_ROWS}", (low, high)):
                    part.append(row)
            except sqlite3.Error:
                self.broken = True
                if part:
                    yield part
                return
            if not part:
                return
            yield part
            low, high = (low, part[-1][0]) if "DESC" in where else (part[-1][0], high)

    def _one_by_one(self, first: int, end: int) -> list[_Row]:
        found: list[_Row] = []
        for number in range(first, end):
            try:
                found += self._source.execute(f"{self._select} WHERE rowid = ?", (number,)).fetchall()
                self._failed = 0
            except sqlite3.Error:
                self._failed += 1
        return found
