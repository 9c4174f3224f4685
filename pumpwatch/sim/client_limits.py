"""The limits that venues count by client address: connection attempts and REST weight.

Most venues count each market separately. If an exchange counts its markets together, they share one `AddressLimits`.
"""

from __future__ import annotations

import math
from collections import deque

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.sim.ban import GrowingBan
from pumpwatch.sim.dialect import Rules
from pumpwatch.sim.http_messages import HttpReply

FIVE_MINUTES_S = 300.0


class WindowMeter:
    """The REST weight of one client address in each window of the wall clock."""

    def __init__(self, clock: Clock, window_s: float) -> None:
        self.clock = clock
        self._window_ns = int(window_s * NS_PER_S)
        self._window = 0
        self.used = 0.0

    def spend(self, weight: float) -> float:
        """Count a request and return the weight used in the current window, this request included."""
        window = self.clock.now_ns() // self._window_ns
        if window != self._window:
            self._window, self.used = window, 0.0
        self.used += weight
        return self.used

    def retry_after_s(self) -> int:
        """Return the seconds until the window is over."""
        return -(-(self._window_ns - self.clock.now_ns() % self._window_ns) // NS_PER_S)


class AddressLimits:
    """The counters of each client address, of one venue or of all markets of an exchange."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._attempts: dict[str, deque[float]] = {}
        self._meters: dict[str, WindowMeter] = {}
        self._bans: dict[str, GrowingBan] = {}

    def meter(self, address: str, rules: Rules) -> WindowMeter:
        """Return the counter of this address's REST requests."""
        return self._meters.setdefault(address, WindowMeter(self._clock, rules.request_window_s))

    def ban(self, address: str) -> GrowingBan:
        """Return the ban of this address, which may not have begun."""
        return self._bans.setdefault(address, GrowingBan(self._clock))

    def count_attempt(self, address: str, rules: Rules) -> tuple[str, HttpReply] | None:
        """Count an attempt to connect; return the reason and the answer if it is rejected, else None."""
        now, attempts = self._clock.monotonic(), self._attempts.setdefault(address, deque())
        attempts.append(now)
        while attempts[0] < now - FIVE_MINUTES_S:
            attempts.popleft()
        limits = ((rules.connects_per_second, 1.0, "a second"), (rules.connects_per_minute, 60.0, "a minute"),
                  (rules.connects_per_5_minutes, FIVE_MINUTES_S, "in five minutes"))
        for limit, within_s, words in limits:
            recent = [at for at in attempts if at > now - within_s]
            if 0 < limit < len(recent):
                wait_s = math.ceil(recent[0] + within_s - now)
                return f"too many connects {words}", HttpReply(429, b"", {"Retry-After": str(wait_s)})
        return None
