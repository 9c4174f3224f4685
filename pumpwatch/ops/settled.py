"""Separate settled damage of the journal from open damage.

Damage is settled if the ledger records its gap as lost: its trades cannot come back, and nothing is left to do. Damage that the
ledger does not know yet, or whose gap is open, is open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pumpwatch.model import Gap, GapState

JOURNAL = "journal damaged: "  # followed by the file's name, `: `, and the damage

_BATCHES = re.compile(r"batch(?:es)? (\d+)(?: to (\d+))?")
_EVERYTHING = (0, 2**63 - 1)


class SettledDamage:
    """The settled damage in each file of a journal, from the gaps of its ledger."""

    def __init__(self, gaps: Iterable[Gap]) -> None:
        self._lost: dict[str, list[tuple[int, int]]] = {}
        self._open: dict[str, list[tuple[int, int]]] = {}
        for gap in gaps:
            if gap.reason.startswith(JOURNAL) and gap.state != GapState.FILLED:
                name, _, damage = gap.reason.removeprefix(JOURNAL).partition(": ")
                where = self._lost if gap.state == GapState.LOST else self._open
                where.setdefault(name, []).append(_batches(damage))

    def covers(self, name: str, lines: Sequence[str]) -> bool:
        """Return whether all of these lines about one file are settled. A line without batch ids is about the whole file."""
        return all(self._covers(name, *_batches(line)) for line in lines)

    def _covers(self, name: str, first: int, last: int) -> bool:
        if any(start <= last and end >= first for start, end in self._open.get(name, ())):
            return False
        return any(start <= first and end >= last for start, end in self._lost.get(name, ()))


def _batches(line: str) -> tuple[int, int]:
    """Return the first and last batch that a line is about."""
    found = _BATCHES.match(line)
    if found is None:
        return _EVERYTHING
    return int(found[1]), int(found[2] or found[1])
