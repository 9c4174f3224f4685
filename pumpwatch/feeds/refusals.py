"""Symbols that a venue will not subscribe: left out, asked for again, and a gap meanwhile where they were read before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Set
from dataclasses import dataclass

from pumpwatch.feeds.link import Surroundings

log = logging.getLogger(__name__)

LONGEST_ROUNDS = 12  # refreshes between two tries of a symbol


@dataclass(slots=True)
class Refused:
    """A symbol the venue refuses, for now."""

    reason: str
    from_ns: int  # trades may be missing since; 0: it was never read
    times: int = 0
    rounds: int = 0  # refreshes until it is asked for again; 0: it is asked for


class Refusals:
    """The refused symbols of one venue. Each is tried again after 1, 2, 4, ... refreshes of the instrument list."""

    def __init__(self, around: Surroundings, was_read: Callable[[str], bool]) -> None:
        self._around, self._was_read = around, was_read
        self._refused: dict[str, Refused] = {}

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._refused

    @property
    def left_out(self) -> dict[str, str]:
        """The symbols that are not asked for now, with what the venue said."""
        return {symbol: one.reason for symbol, one in self._refused.items() if one.rounds}

    def add(self, number: int, symbol: str, reason: str) -> None:
        """Take down that a connection was refused this symbol, and say so the first time."""
        around, one = self._around, self._refused.get(symbol)
        if one is None:
            from_ns = around.clock.now_ns() - around.slack_ns() if self._was_read(symbol) else 0
            one = self._refused[symbol] = Refused(reason, from_ns)
            log.warning("symbol left out venue=%s symbol=%s reason=%s", around.venue.name, symbol, reason)
            around.stats.add("refused_symbols_total", venue=around.venue.name)
        one.rounds = min(2**one.times, LONGEST_ROUNDS)
        one.times += 1
        around.note_event(number, "refused", f"{symbol}: {reason}")
        self._note_gap(symbol, one)

    def review(self, listed: Set[str], granted: Set[str]) -> None:
        """At a refresh: forget what is granted by now or listed no more, and let the others come nearer to another try."""
        for symbol, one in list(self._refused.items()):
            if symbol not in listed:
                del self._refused[symbol]
            elif one.rounds:
                self._note_gap(symbol, one)
                one.rounds -= 1
            elif symbol in granted:
                self._note_gap(symbol, one)
                del self._refused[symbol]
                log.info("symbol is granted after all venue=%s symbol=%s", self._around.venue.name, symbol)

    def _note_gap(self, symbol: str, one: Refused) -> None:
        if one.from_ns:
            self._around.note_gap(symbol, one.from_ns, f"the venue refuses it: {one.reason}")
