"""Measures which of two connections with the same trades is first, and by how much, on a sample of the trades that came twice.

The pipeline records the races, and the status shows them. A connection is known by its source number (Frames.source_numbers).
"""

from __future__ import annotations

from collections.abc import Collection

from pumpwatch.clock import NS_PER_MS

HALVED_AT = 4096  # samples of a pair; older ones then count half, so that the figures are those of the last minutes


class Races:
    """The races of one venue's connections."""

    def __init__(self) -> None:
        self._won: dict[tuple[int, int], tuple[int, int]] = {}  # (first, second) -> samples, and their leads together in ns

    def record(self, first: int, second: int, lead_ns: int) -> None:
        """Record that `first` brought a trade `lead_ns` before `second`."""
        count, total_ns = self._won.get((first, second), (0, 0))
        if count >= HALVED_AT:
            for pair in ((first, second), (second, first)):
                self._won[pair] = tuple(number // 2 for number in self._won.get(pair, (0, 0)))  # type: ignore[assignment]
            count, total_ns = self._won[first, second]
        self._won[first, second] = count + 1, total_ns + lead_ns

    def lead(self, first: int, second: int) -> tuple[int, float]:
        """Return in how many samples `first` was ahead of `second`, and by how many ms on average."""
        count, total_ns = self._won.get((first, second), (0, 0))
        return count, total_ns / count / NS_PER_MS if count else 0.0

    def keep(self, sources: Collection[int]) -> None:
        """Forget connections other than these."""
        known = set(sources)
        self._won = {pair: won for pair, won in self._won.items() if known.issuperset(pair)}
