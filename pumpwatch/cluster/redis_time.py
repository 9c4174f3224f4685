"""Redis' clock as known to one member, so that differences between the members' clocks do not matter."""

from __future__ import annotations

from pumpwatch.clock import Clock

US_PER_S = 1_000_000
NS_PER_US = 1_000


class RedisTime:
    """Converts between this machine's clocks and Redis' clock, in µs. Results are inexact by the time that an answer took.

    It compares the monotonic clock, so a step of the wall clock here has no effect. A step of Redis' own clock, or a fail-over to
    a host with another clock, is noticed with the next answer.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._earliest_us = self._latest_us = 0  # Redis' clock minus the monotonic one: at least, at most

    def learn(self, sent: float, redis_us: int) -> None:
        """Learn Redis' time from an answer that came now. sent: the time of its request by the monotonic clock."""
        self._earliest_us = redis_us - round(self._clock.monotonic() * US_PER_S)
        self._latest_us = redis_us - round(sent * US_PER_S)

    def at_least_us(self, wall_ns: int) -> int:
        """Return Redis' time at a moment of this machine's wall clock; never later than it was, 0 before the first answer."""
        if not self._earliest_us:
            return 0
        age_us = max(0, self._clock.now_ns() - wall_ns) // NS_PER_US
        return max(0, round(self._clock.monotonic() * US_PER_S) + self._earliest_us - age_us)

    def at_most_us(self, monotonic: float) -> int:
        """Return Redis' time at a moment of the monotonic clock; never earlier than it was."""
        return round(monotonic * US_PER_S) + self._latest_us

    def wall_ns(self, redis_us: int) -> int:
        """Return a moment of Redis' clock by this machine's wall clock, never later than it was; 0 for 0."""
        if not redis_us:
            return 0
        ago_us = round(self._clock.monotonic() * US_PER_S) + self._latest_us - redis_us
        return max(1, self._clock.now_ns() - ago_us * NS_PER_US)
