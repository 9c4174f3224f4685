"""Which trades of a venue were seen where ids have no order, so that a trade that comes again shows.

While a connection is renewed two of them bring the same trades, and after a reconnect some venues repeat the last ones: so the
ids of the last while are always kept. What is older than they are cannot be told from what is new.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

KEPT = 40_000  # the last so many ids of all instruments together, and never more than twice that: 8 to 16 MB


class UnorderedIds:
    """The recent ids of every instrument whose ids have no order, in two generations."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._young: set[Hashable] = set()
        self._old: set[Hashable] = set()

    def fresh(self, keys: Sequence[Hashable]) -> list[bool] | None:
        """Remember these, and return which of them are new; None where all are."""
        young, old, told = self._young, self._old, set(keys)
        fresh: list[bool] | None = None
        if len(told) == len(keys) and young.isdisjoint(told) and old.isdisjoint(told):
            young |= told
        else:
            fresh = []
            for key in keys:
                fresh.append(key not in young and key not in old)
                young.add(key)
        if len(young) >= self._kept:
            self._old, self._young = young, set()
        return fresh
