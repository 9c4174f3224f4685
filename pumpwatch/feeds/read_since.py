"""Remembers since when each symbol of a connection has been read without interruption."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable


class ReadSince:
    """The times of one feed, across hand-overs. After a loss they are those before it, until the connection is back."""

    def __init__(self) -> None:
        self._all_ns = 0  # since when the connection has been read; 0: never
        self._later: dict[str, int] = {}  # symbols that were granted later -> since when
        self._unsettled: set[str] = set()  # requested on the running connection, and not granted yet

    def begin(self, now_ns: int) -> None:
        """Begin with a connection on which everything requested is granted."""
        self._all_ns, self._later = now_ns, {}
        self._unsettled.clear()

    def change(self, add: Iterable[str], drop: Iterable[str] = ()) -> None:
        """Record that symbols are requested, and others dropped."""
        self._unsettled = self._unsettled.union(add).difference(drop)

    def record_granted(self, granted: Collection[str], now_ns: int) -> None:
        """Record which symbols that were requested later are granted now."""
        if self._unsettled:
            settled = self._unsettled.intersection(granted)
            self._unsettled -= settled
            self._later |= dict.fromkeys(settled, now_ns)

    def of(self, symbol: str) -> float:
        """Return since when a granted symbol has been read, in ns; infinite if it is not read yet."""
        return math.inf if symbol in self._unsettled or not self._all_ns else self._later.get(symbol, self._all_ns)
