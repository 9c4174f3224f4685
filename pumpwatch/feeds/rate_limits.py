"""Keeps within the rates at which a venue accepts connections, REST requests and messages."""

from __future__ import annotations

import gevent

from pumpwatch.clock import Clock
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.net.shared_budget import Purses, SharedBudget, slice_s_of
from pumpwatch.venue import Limits, Venue

AT_ONCE_S = 0.1  # a granted connection must be made within this time
HALF = 0.5  # the part of every limit to use while one process takes over from another at the same address


class ConnectLimit:
    """Limits connections per second and per five minutes; all connections from one IP address share it.

    purses, name: the budgets that all collectors at this address share, and the name there; None if this collector is alone.
    """

    def __init__(self, limits: Limits, clock: Clock, purses: Purses | None = None, name: str = "") -> None:
        per_second, limit = limits.connects_per_second, limits.connects_per_5_minutes
        # A third of the limit at once and the rest spread out, so that five minutes never hold more than the venue allows.
        second, five_minutes = (steady(per_second), 1.0), (0.6 * limit / 300, max(1.0, limit / 3))
        if purses is None:
            self._second, self._five_minutes = TokenBucket(*second, clock), TokenBucket(*five_minutes, clock)
            return
        name += " connects"
        # A connection is made a moment after Redis counted it, so the shared windows are a little longer.
        self._five_minutes = SharedBudget(*five_minutes, clock, purses.purse(name, max(1, int(0.93 * limit)), 301.0), AT_ONCE_S)
        at_once = max(1, int(per_second))
        self._second = SharedBudget(*second, clock, purses.purse(name, at_once, 1.5 * at_once / per_second), AT_ONCE_S)

    def acquire(self) -> None:
        """Wait in this greenlet until a connection may be made."""
        gevent.sleep(self.reserve())
        for shared in (self._five_minutes, self._second):
            if isinstance(shared, SharedBudget):
                shared.draw()

    def reserve(self) -> float:
        """Reserve the next connection and return the seconds until it may be made."""
        return max(self._five_minutes.reserve(), self._second.reserve())

    def use_part(self, part: float) -> None:
        """Use only this part of the limits from now on; 1 is the whole limit."""
        self._five_minutes.use_part(part)
        self._second.use_part(part)


class VenueRateLimits:
    """The limits that venues apply by IP address: one for each venue, or for each exchange that counts its markets together.

    purses: the budgets that all collectors at this address share; None if this collector is alone.
    """

    def __init__(self, clock: Clock, purses: Purses | None = None) -> None:
        self._clock, self._purses, self._part = clock, purses, 1.0
        self._connects: dict[tuple[object, ...], ConnectLimit] = {}
        self._requests: dict[tuple[object, ...], TokenBucket] = {}

    def connects(self, venue: Venue) -> ConnectLimit:
        """Return the limit on new connections of this venue."""
        limits = venue.limits
        key = (_counted_as(venue), limits.connects_per_second, limits.connects_per_5_minutes)
        if key not in self._connects:
            self._connects[key] = ConnectLimit(limits, self._clock, self._purses, _counted_as(venue))
            self._connects[key].use_part(self._part)
        return self._connects[key]

    def requests(self, venue: Venue) -> TokenBucket:
        """Return the limit on REST requests of this venue: three quarters of what it allows in any of its windows."""
        per_second, window_s = venue.limits.requests_per_minute / 60, venue.limits.request_window_s
        key = (_counted_as(venue), per_second, window_s)
        if key not in self._requests:
            self._requests[key] = self._budget(_counted_as(venue), per_second, window_s)
            self._requests[key].use_part(self._part)
        return self._requests[key]

    def _budget(self, name: str, per_second: float, window_s: float) -> TokenBucket:
        rate, burst = 0.5 * per_second, max(1.0, per_second * window_s / 4)
        if self._purses is None:
            return TokenBucket(rate, burst, self._clock)
        # A slice is used after it was counted, so the window of the purse is one slice longer than the venue's.
        slice_s = slice_s_of(window_s)
        purse = self._purses.purse(name, max(1, int(0.75 * per_second * window_s)), window_s + slice_s)
        return SharedBudget(rate, burst, self._clock, purse, slice_s)

    @property
    def part(self) -> float:
        """Return the part of the limits that is used."""
        return self._part

    def use_part(self, part: float) -> None:
        """Use only this part of every limit from now on; 1 is the whole limit.

        Two processes at one address that use half each stay within a venue's limits together.
        """
        if part != self._part:
            self._part = part
            for connects in self._connects.values():
                connects.use_part(part)
            for requests in self._requests.values():
                requests.use_part(part)


def _counted_as(venue: Venue) -> str:
    return venue.exchange if venue.limits.shared_by_markets else venue.name


def message_limit(limits: Limits, clock: Clock) -> TokenBucket:
    """Return the limit on a connection's messages."""
    return TokenBucket(steady(limits.messages_per_second), 1, clock)


def steady(per_second: float) -> float:
    """Return a rate that stays within a venue's limit of `per_second`.

    Messages that leave evenly may arrive in bunches, so not even a second and a half may hold more than the limit.
    """
    return max(0.8 * min(per_second, 1.0), (per_second - 1) / 1.5)
