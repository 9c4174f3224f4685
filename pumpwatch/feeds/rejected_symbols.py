"""Symbols that a venue will not subscribe: left out, and asked for again. The caller records what is missing meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Set
from dataclasses import dataclass

from pumpwatch.feeds.session import FeedContext

log = logging.getLogger(__name__)

LONGEST_ROUNDS = 12  # refreshes between two tries of a symbol


@dataclass(slots=True)
class Refused:
    """A symbol the venue refuses, for now."""

    reason: str
    times: int = 0
    rounds: int = 0  # refreshes until it is asked for again; 0: it is asked for


class Refusals:
    """The refused symbols of one venue. Each is tried again after 1, 2, 4, ... refreshes of the instrument list."""

    def __init__(self, context: FeedContext) -> None:
        self._context = context
        self._refused: dict[str, Refused] = {}

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._refused

    @property
    def left_out(self) -> dict[str, str]:
        """The symbols that are not asked for now, with what the venue said."""
        return {symbol: one.reason for symbol, one in self._refused.items() if one.rounds}

    def add(self, number: int, symbol: str, reason: str) -> None:
        """Take down that a connection was refused this symbol, and say so the first time."""
        context, one = self._context, self._refused.get(symbol)
        if one is None:
            one = self._refused[symbol] = Refused(reason)
            log.warning("symbol left out venue=%s symbol=%s reason=%s", context.venue.name, symbol, reason)
            context.stats.add("refused_symbols_total", venue=context.venue.name)
        one.rounds = min(2**one.times, LONGEST_ROUNDS)
        one.times += 1
        context.note_event(number, "refused", f"{symbol}: {reason}")

    def review(self, listed: Set[str], granted: Set[str]) -> None:
        """At a refresh: forget what is granted by now or listed no more, and let the others come nearer to another try."""
        for symbol, one in list(self._refused.items()):
            if symbol not in listed:
                del self._refused[symbol]
            elif one.rounds:
                one.rounds -= 1
            elif symbol in granted:
                del self._refused[symbol]
                log.info("symbol is granted after all venue=%s symbol=%s", self._context.venue.name, symbol)
