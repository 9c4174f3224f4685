"""How fast a venue may be connected to, and how fast it may be told something."""

from __future__ import annotations

from pumpwatch.clock import Clock
from pumpwatch.model import Limits
from pumpwatch.net.ratelimit import TokenBucket


class ConnectPace:
    """So many connections a second, and so many in five minutes; all connections of a venue share it."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._second = TokenBucket(0.8 * limits.connects_per_second, 1, clock)
        # A third of the limit at once, the rest spread out: no five minutes ever hold more than the venue allows.
        limit = limits.connects_per_5_minutes
        self._five_minutes = TokenBucket(0.6 * limit / 300, max(1.0, limit / 3), clock)

    def reserve(self) -> float:
        """Take a turn and return the seconds until it comes."""
        return max(self._five_minutes.reserve(), self._second.reserve())


def message_pace(limits: Limits, clock: Clock) -> TokenBucket:
    """Return what a connection's messages wait for: no second ever holds more than the limit less one."""
    return TokenBucket(max(0.5, limits.messages_per_second - 2), 1, clock)
