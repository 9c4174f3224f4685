"""Records a gap for each symbol that should be read and is not yet, until the venue has granted it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gevent.event import Event

from pumpwatch.clock import NS_PER_S
from pumpwatch.feeds.session import FeedContext

FOLLOW_S = 1.0  # between two looks


class UnreadSymbols:
    """The unread symbols of one venue.

    granted(symbol): whether it is granted; None if it is no longer placed on any connection, which ends its gap.
    """

    def __init__(self, context: FeedContext, granted: Callable[[str], bool | None],
                 spawn: Callable[[str, Callable[[], None]], None], stopping: Event) -> None:
        self._context, self._granted, self._spawn, self._stopping = context, granted, spawn, stopping
        self._waiting: dict[str, tuple[int, str]] = {}  # symbol -> the beginning of its gap, and the reason
        self._running = False

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._waiting

    def add(self, symbols: Iterable[str], from_ns: int, reason: str) -> None:
        """Begin a gap for each symbol, which grows until it is granted; one that waits already keeps its earlier beginning."""
        for symbol in symbols:
            self._waiting.setdefault(symbol, (from_ns, reason))
        if self._waiting and not self._running:
            self._running = True
            self._spawn(f"unread {self._context.venue.name}", self._follow)

    def _follow(self) -> None:
        try:
            while self._waiting:
                self.record_gaps()
                if self._stopping.wait(FOLLOW_S):
                    return
        finally:
            self._running = False

    def record_gaps(self) -> None:
        """Record the gaps up to now, and forget the symbols that are granted."""
        granted = {symbol for symbol in self._waiting if self._granted(symbol) is not False}
        for symbol, (from_ns, reason) in self._waiting.items():
            self._context.record_gap(symbol, from_ns, reason, 0 if symbol in granted else int(2 * FOLLOW_S * NS_PER_S))
        for symbol in granted:
            del self._waiting[symbol]
