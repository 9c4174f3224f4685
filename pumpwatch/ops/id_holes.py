"""Find missing trade ids that are not covered by a gap."""

from __future__ import annotations

from collections.abc import Iterable

from pumpwatch.model import Gap, GapState
from pumpwatch.records import GapFill
from pumpwatch.store.id_runs import MissingIds
from pumpwatch.store.manifest import joined, outside
from pumpwatch.store.pending_records import gap_key


class NamedGaps:
    """The gaps of one venue that may explain missing ids.

    A filled gap does not explain them, because all its trades should be stored. With `skips_ids` it does, because the venue's
    history leaves out the ids of rows that are not trades.

    A gap with ids explains these ids, at any time. A gap without ids explains only its own time: the missing trade may lie in it
    or in the rest of the hole, so the rest is not proven complete either (`uncovered`).
    """

    def __init__(self, gaps: Iterable[Gap], fills: Iterable[GapFill], *, skips_ids: bool) -> None:
        filled = {(gap_key(fill.gap), fill.symbol): fill.gap.to_ns for fill in fills if fill.state == GapState.FILLED}
        self._of_symbol: dict[str, list[Gap]] = {}
        self._of_many: list[Gap] = []
        self._filled, self._skips_ids = filled, skips_ids
        for gap in gaps:
            if skips_ids or gap.state != GapState.FILLED:
                (self._of_symbol.setdefault(gap.symbol, []) if gap.symbol else self._of_many).append(gap)

    def unexplained(self, symbol: str, missing: MissingIds) -> list[tuple[int, int]]:
        """Return the parts of missing ids, each (first, last), without an explaining gap even for a part of their time."""
        ids, times = self._explain(symbol, missing)
        return [] if times else ids

    def uncovered(self, symbol: str, missing: MissingIds) -> list[tuple[int, int]]:
        """Return the parts of the time of missing ids, each [from, to) in ns, that their gaps leave out.

        Empty if no gap explains them (`unexplained` then returns them), or if gaps name every id.
        """
        ids, times = self._explain(symbol, missing)
        if not ids or not times:
            return []
        return [(first, last + 1) for first, last in outside(missing.from_ns, missing.to_ns, times)]

    def _explain(self, symbol: str, missing: MissingIds) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return the parts of the ids that no gap names, and the times, both ends inclusive, of the gaps without ids."""
        proven: list[tuple[int, int]] = []
        times: list[tuple[int, int]] = []
        for gap in [*self._of_symbol.get(symbol, ()), *self._of_many]:
            if not gap.touches(symbol) or self._is_filled(gap, symbol):
                continue
            if gap.first_id is not None and gap.last_id is not None:
                proven.append((gap.first_id, gap.last_id))
            elif gap.from_ns <= missing.to_ns and gap.to_ns >= missing.from_ns:
                # if the history skips ids, an id near a filled gap may be missing without a lost trade
                times.append((missing.from_ns, missing.to_ns) if gap.state == GapState.FILLED else (gap.from_ns, gap.to_ns))
        return outside(missing.first, missing.last, joined(proven)), joined(times)

    def _is_filled(self, gap: Gap, symbol: str) -> bool:
        return not self._skips_ids and self._filled.get((gap_key(gap), symbol), -1) >= gap.to_ns

