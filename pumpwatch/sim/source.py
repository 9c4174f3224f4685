"""The sources of a venue's trades: generated live (here), recorded frames (tape), or frames made in advance (burst)."""

from __future__ import annotations

from typing import Protocol

from pumpwatch.sim.venue import SimVenue


class SimSource(Protocol):
    """Supplies one venue with trades."""

    rate: float

    def prepare(self) -> None:
        """Do the work that can be done before trading starts."""

    def advance(self, seconds: float, from_ns: int, to_ns: int) -> None:
        """Deliver the trades of a period: [from_ns, to_ns) by the wall clock, `seconds` long by the steady clock."""

    def behind(self) -> int:
        """Return how many trades are late."""

    def finished(self) -> bool:
        """Return whether no trade will follow."""


MOST_AT_ONCE = 5_000  # trades; the rest waits, so that connections and commands are served in between


class LiveSource:
    """Generated trades, encoded as they happen."""

    def __init__(self, venue: SimVenue, rate: float) -> None:
        self.rate = rate
        self._venue = venue
        self._due = 0.0

    def advance(self, seconds: float, from_ns: int, to_ns: int) -> None:
        """Generate and deliver the trades that are due."""
        self._due += self.rate * seconds
        count = min(int(self._due), MOST_AT_ONCE)
        self._due -= count
        if count or self._venue.market.pumps:
            self._venue.deliver(self._venue.market.next_trades(count, from_ns, to_ns, seconds, self.rate))

    def prepare(self) -> None:
        """Do nothing: trades are generated as they are due."""

    def behind(self) -> int:
        """Return how many trades are late because this process is too slow."""
        return int(self._due)

    def finished(self) -> bool:
        """Return False, because a market never ends."""
        return False
