"""Keeps the symbols that a venue rejects, and decides when to try them again. The caller records their gaps."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Set
from dataclasses import dataclass

from pumpwatch.feeds.session import FeedContext

log = logging.getLogger(__name__)

LONGEST_ROUNDS = 12  # refreshes between two tries of one symbol


@dataclass(slots=True)
class Rejection:
    """The state of a rejected symbol."""

    reason: str
    times: int = 0
    rounds: int = 0  # refreshes until it is requested again; 0: it is requested now


class RejectedSymbols:
    """The rejected symbols of one venue. Each is tried again after 1, 2, 4, ... refreshes of the instrument list."""

    def __init__(self, context: FeedContext) -> None:
        self._context = context
        self._rejections: dict[str, Rejection] = {}

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._rejections

    @property
    def left_out(self) -> dict[str, str]:
        """The symbols that are not requested now, each with the venue's reason."""
        return {symbol: rejection.reason for symbol, rejection in self._rejections.items() if rejection.rounds}

    def add(self, number: int, symbol: str, reason: str) -> None:
        """Record that the venue rejected this symbol on a connection; log only the first rejection."""
        context, rejection = self._context, self._rejections.get(symbol)
        if rejection is None:
            rejection = self._rejections[symbol] = Rejection(reason)
            log.warning("symbol rejected by the venue, left out for now venue=%s symbol=%s reason=%s",
                        context.venue.name, symbol, reason)
            context.stats.add("refused_symbols_total", venue=context.venue.name)
        rejection.rounds = min(2**rejection.times, LONGEST_ROUNDS)
        rejection.times += 1
        context.record_event(number, "refused", f"{symbol}: {reason}")

    def forget(self, symbols: Iterable[str]) -> None:
        """Forget symbols that are not read here any more."""
        for symbol in symbols:
            self._rejections.pop(symbol, None)

    def review(self, listed: Set[str], granted: Set[str]) -> None:
        """Update at a refresh: forget symbols that are granted or no longer listed, and count the others' rounds down."""
        for symbol, rejection in list(self._rejections.items()):
            if symbol not in listed:
                del self._rejections[symbol]
            elif rejection.rounds:
                rejection.rounds -= 1
            elif symbol in granted:
                del self._rejections[symbol]
                log.info("rejected symbol is granted now venue=%s symbol=%s", self._context.venue.name, symbol)
