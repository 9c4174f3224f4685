"""Where a venue's trades come from: generated live here, from recorded frames (tape), or made beforehand (burst)."""

from __future__ import annotations

from typing import Protocol

from pumpwatch.sim.venue import SimVenue


class Source(Protocol):
    """Feeds one venue."""

    rate: float

    def advance(self, seconds: float, from_ns: int, to_ns: int) -> None:
        """Let the trades of a stretch of time happen: `seconds` long by the steady clock, ending at to_ns."""

    def finished(self) -> bool:
        """Return whether nothing will come any more."""


class LiveSource:
    """Generated trades, encoded as they happen."""

    def __init__(self, venue: SimVenue, rate: float) -> None:
        self.rate = rate
        self._venue = venue
        self._due = 0.0

    def advance(self, seconds: float, from_ns: int, to_ns: int) -> None:
        self._due += self.rate * seconds
        count = int(self._due)
        self._due -= count
        if count or self._venue.market.pumps:
            self._venue.deliver(self._venue.market.take(count, from_ns, to_ns, seconds, self.rate))

    def finished(self) -> bool:
        return False
