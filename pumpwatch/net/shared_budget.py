"""A request budget that all processes at one address share, taken in slices so that one call serves many requests.

The budget of this process comes first and sets the pace; the shared budget is charged in addition. While the shared budget does
not answer, this process uses its fair part of its own budget, by the last known number of members.
"""

from __future__ import annotations

import math
from typing import Protocol

import gevent
from gevent.lock import BoundedSemaphore

from pumpwatch.clock import Clock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.net.sliding_window import RateVerdict

LONGEST_SLICE_S = 1.0  # a slice is used up within this time, or it is lost
LONGEST_SLEEP_S = 5.0  # before the next try, because other members may have gone


class Purse(Protocol):
    """A sliding window of request weight that several processes share."""

    def take(self, wanted: int, least: int) -> RateVerdict:
        """Take up to `wanted`, at least `least` or nothing. Raises ServiceUnavailable without an answer."""

    def hold(self, seconds: float) -> None:
        """Grant nothing to any member for `seconds`. Returns at once."""

    @property
    def limit(self) -> int:
        """Return the weight of a whole window."""

    @property
    def members(self) -> int:
        """Return the number of members by the last answer, at least 1."""

    def count_outcome(self, outcome: str) -> None:
        """Count how a request was paid: from the `slice`, by a call (`asked`), `denied` for now, or `away` without an answer."""


class Purses(Protocol):
    """The purses of one address."""

    def purse(self, name: str, limit: int, window_s: float) -> Purse:
        """Return the purse of a venue, or of an exchange that counts its markets together."""


def slice_s_of(window_s: float) -> float:
    """Return for how long a slice of such a window may be used: a tenth of it, at most LONGEST_SLICE_S."""
    return min(LONGEST_SLICE_S, window_s / 10)


class SharedBudget(TokenBucket):
    """A budget with a purse: a request pays both. Callers are served in the order in which they came."""

    def __init__(self, rate: float, burst: float, clock: Clock, purse: Purse, slice_s: float) -> None:
        super().__init__(rate, burst, clock)
        self._purse, self._slice_s, self._turn = purse, slice_s, BoundedSemaphore(1)
        self._most = max(1, int(rate * slice_s))
        self._left, self._ends_at, self._size, self._used = 0, 0.0, 1, 0
        self._again_at = 0.0  # when the purse may have something again
        self._asked_part, self.away = 1.0, False

    def acquire(self, tokens: float = 1) -> None:
        """Wait in this greenlet until both budgets have this weight, and use it."""
        super().acquire(tokens)
        self.draw(tokens)

    def draw(self, tokens: float = 1) -> None:
        """Wait until the shared budget has this weight, and use it. Call it after reserving the weight in the own budget."""
        weight = min(self._purse.limit, max(1, -int(-tokens // 1)))
        with self._turn:
            while not self._paid(weight):
                gevent.sleep(min(LONGEST_SLEEP_S, max(0.001, self._again_at - self._clock.monotonic())))

    def _paid(self, weight: int) -> bool:
        """Pay from the slice, or from a new one; return False if the purse is empty."""
        now = self._clock.monotonic()
        if now >= self._ends_at:
            self._size = max(1, min(self._most, self._used))  # as much as the last slice needed
            self._left = self._used = 0
        asks = self._left < weight
        if asks:
            missing = weight - self._left
            if self._left or self._used:  # the slice was too small
                self._size = min(self._most, 2 * self._size)
            try:
                verdict = self._purse.take(max(missing, min(self._size, self._purse.limit)), missing)
            except ServiceUnavailable:
                self._set_away(True)
                self._purse.count_outcome("away")
                return True
            self._set_away(False)
            if not verdict.granted:
                self._again_at = self._clock.monotonic() + verdict.wait_s
                self._purse.count_outcome("denied")
                return False
            self._left, self._ends_at = self._left + verdict.granted, now + self._slice_s
        self._left -= weight
        self._used += weight
        self._purse.count_outcome("asked" if asks else "slice")
        return True

    def _set_away(self, away: bool) -> None:
        """Use a fair part of the own budget while the purse does not answer, otherwise all of it."""
        self.away = away
        part = self._asked_part / (self._purse.members if away else 1)
        if not math.isclose(part, self.part):
            super().use_part(part)

    def use_part(self, part: float) -> None:
        """Use only this part of the own budget, see `TokenBucket.use_part`; the shared one counts every process anyway."""
        self._asked_part = part
        self._set_away(self.away)

    def wait_s(self, tokens: float = 1) -> float:
        """Return the seconds until both budgets are likely to have this weight, without using any."""
        return max(super().wait_s(tokens), self._again_at - self._clock.monotonic())

    def pause(self, seconds: float) -> None:
        """Give out nothing for `seconds`, here and at every other member."""
        super().pause(seconds)
        self._left = 0
        self._purse.hold(seconds)
