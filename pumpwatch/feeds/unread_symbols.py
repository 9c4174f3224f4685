"""Records a gap for each symbol that should be read and is not yet, until the venue has granted it.

Symbols that are unread for the same reason since the same moment share one gap. When some of them are granted, that gap ends, and
another begins with the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gevent.event import Event

from pumpwatch.clock import NS_PER_S
from pumpwatch.feeds.session import FeedContext

FOLLOW_S = 1.0  # between two looks


@dataclass(slots=True)
class UnreadGroup:
    """Symbols with one gap, its beginning and its reason."""

    symbols: tuple[str, ...]
    from_ns: int
    reason: str


class UnreadSymbols:
    """The unread symbols of one venue.

    granted(symbol): whether it is granted; None if it is no longer placed on any connection, which ends its gap.
    """

    def __init__(self, context: FeedContext, granted: Callable[[str], bool | None],
                 spawn: Callable[[str, Callable[[], None]], None], stopping: Event) -> None:
        self._context, self._granted, self._spawn, self._stopping = context, granted, spawn, stopping
        self._waiting: dict[str, tuple[int, str]] = {}  # symbol -> the beginning of its gap, and the reason
        self._groups: list[UnreadGroup] = []
        self._grouped: set[str] = set()  # the symbols of all groups
        self._running = False

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._waiting or symbol in self._grouped

    def add(self, symbols: Iterable[str], from_ns: int, reason: str) -> None:
        """Begin a gap for each symbol, which grows until the symbol is granted; a waiting symbol keeps its earlier beginning."""
        for symbol in symbols:
            self._waiting.setdefault(symbol, (from_ns, reason))
        self._begin_following()

    def add_together(self, symbols: Iterable[str], from_ns: int, reason: str) -> None:
        """Begin one gap for all of these symbols, without those that already wait since `from_ns` or earlier."""
        known = {symbol for group in self._groups if group.from_ns <= from_ns for symbol in group.symbols}
        fresh = tuple(sorted(symbol for symbol in symbols if symbol not in known))
        if fresh:
            self._groups.append(UnreadGroup(fresh, from_ns, reason))
            self._grouped.update(fresh)
        self._begin_following()

    def _begin_following(self) -> None:
        if (self._waiting or self._groups) and not self._running:
            self._running = True
            self._spawn(f"unread {self._context.venue.name}", self._follow)

    def _follow(self) -> None:
        try:
            while self._waiting or self._groups:
                self.record_gaps()
                if self._stopping.wait(FOLLOW_S):
                    return
        finally:
            self._running = False

    def record_gaps(self) -> None:
        """Record the gaps up to now, and forget the symbols that are granted."""
        ahead_ns = int(2 * FOLLOW_S * NS_PER_S)
        granted = {symbol for symbol in self._waiting if self._granted(symbol) is not False}
        for symbol, (from_ns, reason) in self._waiting.items():
            self._context.record_gap(symbol, from_ns, reason, 0 if symbol in granted else ahead_ns)
        for symbol in granted:
            del self._waiting[symbol]
        for group in self._groups:
            left = tuple(symbol for symbol in group.symbols if self._granted(symbol) is False)
            if left != group.symbols:
                self._context.record_gap("", group.from_ns, group.reason, 0, group.symbols)
                group.symbols, group.from_ns = left, self._context.clock.now_ns() - self._context.slack_ns()
            if left:
                self._context.record_gap("", group.from_ns, group.reason, ahead_ns, left)
        self._groups = [group for group in self._groups if group.symbols]
        self._grouped = {symbol for group in self._groups for symbol in group.symbols}
