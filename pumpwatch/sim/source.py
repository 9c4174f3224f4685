"""Where a venue's trades come from: generated live here, from recorded frames (tape), or made beforehand (burst)."""

from __future__ import annotations

from typing import Protocol

from pumpwatch.sim.venue import SimVenue


class Source(Protocol):
    """Feeds one venue."""

    rate: float

    def prepare(self) -> None:
        """Do beforehand what can be done before trading starts."""

    def advance(self, seconds: float, from_ns: int, to_ns: int) -> None:
        """Let the trades of a stretch of time happen: `seconds` long by the steady clock, ending at to_ns."""

    def behind(self) -> int:
        """Return how many trades are late."""

    def finished(self) -> bool:
        """Return whether nothing will come any more."""


MOST_AT_ONCE = 5_000  # trades; what is due beyond is late, so that connections and commands get their turn


class LiveSource:
    """Generated trades, encoded as they happen."""

    def __init__(self, venue: SimVenue, rate: float) -> None:
        self.rate = rate
        self._venue = venue
        self._due = 0.0

    def advance(self, seconds: float, from_ns: int, to_ns: int) -> None:
        """Let what is due happen."""
        self._due += self.rate * seconds
        count = min(int(self._due), MOST_AT_ONCE)
        self._due -= count
        if count or self._venue.market.pumps:
            self._venue.deliver(self._venue.market.next_trades(count, from_ns, to_ns, seconds, self.rate))

    def prepare(self) -> None:
        """Nothing to do beforehand."""

    def behind(self) -> int:
        """Return how many trades are late because this process is too slow."""
        return int(self._due)

    def finished(self) -> bool:
        """Return False: a market never ends."""
        return False
