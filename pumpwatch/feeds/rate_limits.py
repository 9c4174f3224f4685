"""How fast a venue may be connected to, asked, and told something."""

from __future__ import annotations

from pumpwatch.clock import Clock
from pumpwatch.model import Limits, Venue
from pumpwatch.net.ratelimit import TokenBucket


class ConnectLimit:
    """So many connections a second, and so many in five minutes; whoever connects from one address shares it."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._second = TokenBucket(steady(limits.connects_per_second), 1, clock)
        # A third of the limit at once, the rest spread out: no five minutes ever hold more than the venue allows.
        limit = limits.connects_per_5_minutes
        self._five_minutes = TokenBucket(0.6 * limit / 300, max(1.0, limit / 3), clock)

    def reserve(self) -> float:
        """Take a turn and return the seconds until it comes."""
        return max(self._five_minutes.reserve(), self._second.reserve())


class VenueRateLimits:
    """What venues count by address: one pace a venue, or one an exchange where its markets are counted together."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._connects: dict[tuple[object, ...], ConnectLimit] = {}
        self._requests: dict[tuple[object, ...], TokenBucket] = {}

    def connects(self, venue: Venue) -> ConnectLimit:
        """Return what new connections of this venue wait for."""
        limits = venue.limits
        counted = (_counted_as(venue), limits.connects_per_second, limits.connects_per_5_minutes)
        return self._connects.setdefault(counted, ConnectLimit(limits, self._clock))

    def requests(self, venue: Venue) -> TokenBucket:
        """Return what REST requests of this venue wait for: three quarters of the limit in any window of the venue's."""
        a_second = venue.limits.requests_per_minute / 60
        counted = (_counted_as(venue), a_second, venue.limits.request_window_s)
        burst = max(1.0, a_second * venue.limits.request_window_s / 4)
        return self._requests.setdefault(counted, TokenBucket(0.5 * a_second, burst, self._clock))


def _counted_as(venue: Venue) -> str:
    return venue.exchange if venue.limits.shared_by_markets else venue.name


def message_limit(limits: Limits, clock: Clock) -> TokenBucket:
    """Return what a connection's messages wait for."""
    return TokenBucket(steady(limits.messages_per_second), 1, clock)


def steady(a_second: float) -> float:
    """Return how often to do what a venue allows so often in a second: what leaves evenly may arrive in bunches, so no
    second and a half ever holds more."""
    return max(0.8 * min(a_second, 1.0), (a_second - 1) / 1.5)
