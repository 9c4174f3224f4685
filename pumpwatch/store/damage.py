"""What damage made unreadable: named once, counted, and recorded as a gap, never passed over in silence."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from pumpwatch.model import Gap, GapState
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store.lasting import LastingLedger
from pumpwatch.store.sqlite import DAMAGED, connect

log = logging.getLogger(__name__)


class Damage:
    """The damage found in one data folder."""

    def __init__(self, stats: Stats, ledger: LastingLedger) -> None:
        self.notes: list[str] = []
        self._stats, self._ledger = stats, ledger
        self._batches: set[tuple[Path, int]] = set()

    def file(self, path: Path, why: object) -> None:
        """Name a file, or a part of one, that cannot be read."""
        note = f"{path.name}: {why}"
        if note not in self.notes:
            self.notes.append(note)
            self._stats.add("journal_damage_total")
            log.error("journal unreadable %s", note)

    def batch(self, path: Path, batch_id: int, why: str) -> None:
        """Name a batch that cannot be read, once, and record the time it may have covered as a gap."""
        if (path, batch_id) in self._batches:
            return
        self._batches.add((path, batch_id))
        self.file(path, f"batch {batch_id}: {why}")
        from_ns, to_ns = _bounds(path, batch_id)
        self.gap(path, f"batch {batch_id} cannot be read", from_ns, to_ns)

    def gap(self, path: Path, what: str, from_ns: int, to_ns: int) -> None:
        """Record [from_ns, to_ns) of a file's venues; lost for good where even the venues are unknown."""
        venues: list[tuple[Any, ...]] = _venues(path)
        gaps = [Gap(exchange=venue[0], market_type=venue[1], symbol="", from_ns=from_ns, to_ns=max(to_ns, from_ns + 1),
                    first_id=None, last_id=None, reason=f"journal damaged: {path.name}: {what}",
                    state=GapState.OPEN if venue[0] else GapState.LOST) for venue in venues or [("", "")]]
        self._ledger.note(Records(gaps=gaps))


def _venues(path: Path) -> list[tuple[Any, ...]]:
    return _ask(path, "SELECT DISTINCT exchange, market_type FROM instruments WHERE ?1 = ?1", 0)


def _bounds(path: Path, batch_id: int) -> tuple[int, int]:
    """Return from when to when a lost batch was received, by its neighbours, else by its file."""
    before = (_number(path, "SELECT max(last_received) FROM batches WHERE id = ?1 - 1", batch_id)
              or _number(path, "SELECT value FROM meta WHERE key = 'created_ns' AND ?1", batch_id) or 0)
    after = (_number(path, "SELECT min(first_received) FROM batches WHERE id = ?1 + 1", batch_id)
             or _number(path, "SELECT value FROM meta WHERE key = 'last_received' AND ?1", batch_id))
    return before, (after or time.time_ns()) + 1


def _number(path: Path, sql: str, batch_id: int) -> int | None:
    rows = _ask(path, sql, batch_id)
    return rows[0][0] if rows and isinstance(rows[0][0], int) else None


def _ask(path: Path, sql: str, value: int) -> list[tuple[Any, ...]]:
    """Ask a file that may be damaged; nothing where it cannot answer."""
    try:
        connection = connect(path, read_only=True)
        try:
            return list(connection.execute(sql, (value,)))
        finally:
            connection.close()
    except DAMAGED:
        return []
