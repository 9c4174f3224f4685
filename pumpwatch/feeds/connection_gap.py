"""Records the gap of one connection's symbols, from the end of reading until they are granted again.

The gap is recorded every second, up to a moment ahead, so that the ledger has it after a kill. It does not contain symbols that
the connection's double reads. When the double begins or stops reading a symbol, the gap so far ends, and another begins with the
symbols that nobody reads.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from pumpwatch.clock import NS_PER_S
from pumpwatch.feeds.session import FeedContext

SERVER_SKEW_NS = NS_PER_S // 5  # the longest time between two servers of a venue that send the same trade


class Reader(Protocol):
    """Another connection that reads some of the same symbols."""

    def reads(self, symbols: Collection[str], since_ns: int) -> set[str]:
        """Return the symbols that it has read without interruption since `since_ns`."""

    def accounted_for(self, symbols: Collection[str], since_ns: int) -> set[str]:
        """Return the symbols that it has read since `since_ns`, except for a time that its own gap names."""


class ConnectionGap:
    """The gap of one connection. double: another connection that reads some of the same symbols, or None."""

    def __init__(self, context: FeedContext, number: int) -> None:
        self._context, self._number = context, number
        self.double: Reader | None = None
        self.down = False
        self.from_ns = 0
        self.symbols: frozenset[str] = frozenset()  # nobody reads them
        self._left: frozenset[str] = frozenset()  # the double reads them, or has them in its own gap
        self._reviewed_ns = 0
        self._closed: tuple[int, int, frozenset[str]] = 0, 0, frozenset()  # the previous gap: from, to, symbols

    def open(self, from_ns: int, symbols: Collection[str]) -> None:
        """Begin the gap of these symbols, unless a gap is open."""
        if self.down:
            return
        wanted = frozenset(symbols)
        self.down, self.from_ns, self._reviewed_ns = True, from_ns, self._context.clock.now_ns()
        since_ns = from_ns + self._context.slack_ns() - SERVER_SKEW_NS
        self._left = frozenset(self.double.accounted_for(wanted, since_ns)) if self.double else frozenset()
        self.symbols = wanted - self._left

    def extend(self, reason: str, ahead_ns: int, wanted: Collection[str]) -> None:
        """Record the gap up to `ahead_ns` from now. wanted: the symbols that the connection should read now."""
        if self.down and wanted:
            self._review(reason, wanted)
            self._record(reason, ahead_ns)

    def close(self, reason: str) -> None:
        """Record the gap up to now; the connection reads its symbols again."""
        self._record(reason)
        self._closed = self.from_ns, self._context.clock.now_ns(), self.symbols
        self.forget()

    def accounts_for(self, symbol: str, since_ns: int, read_since_ns: float) -> bool:
        """Return whether the gap and the reading of a symbol together cover every moment since `since_ns`.

        read_since_ns: the beginning of the reading: before the gap while it is open, else after it or in its last moments.
        """
        if self.down:
            return symbol in self.symbols and min(self.from_ns, read_since_ns) <= since_ns
        from_ns, to_ns, symbols = self._closed
        return symbol in symbols and from_ns <= since_ns and read_since_ns <= to_ns

    def leave(self, symbols: Collection[str], reason: str) -> None:
        """Remove symbols that another collector reads now, after recording the gap so far."""
        if self.down and not self.symbols.isdisjoint(symbols):
            self._record(reason)
            self.symbols = self.symbols.difference(symbols)
            self.from_ns = self._context.clock.now_ns() - self._context.slack_ns()
        self._left = self._left.difference(symbols)

    def forget(self) -> None:
        """End the gap at its last recorded end."""
        self.down, self.from_ns, self.symbols, self._left = False, 0, frozenset(), frozenset()

    def _review(self, reason: str, wanted: Collection[str]) -> None:
        if self.double is None and not self._left:
            return
        now_ns = self._context.clock.now_ns()
        slack_ns = self._context.slack_ns()
        read = self.double.reads(self.symbols, now_ns) if self.double else set()
        accounted = self.double.accounted_for(self._left, self._reviewed_ns) if self.double else set()
        orphans = self._left.intersection(wanted) - accounted
        if read or orphans:
            self._record(reason)
            self.symbols = (self.symbols - read) | orphans
            self._left = (self._left | read) - orphans
            self.from_ns = (self._reviewed_ns if orphans else now_ns) - slack_ns
        self._reviewed_ns = now_ns

    def _record(self, reason: str, ahead_ns: int = 0) -> None:
        if self.down and self.symbols:
            symbols = tuple(sorted(self.symbols))
            self._context.record_gap("", self.from_ns, f"connection {self._number} with {len(symbols)} symbols: {reason}",
                                     ahead_ns, symbols)
