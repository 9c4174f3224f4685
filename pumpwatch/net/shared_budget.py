"""A budget of requests that all processes at one address share, taken in slices so that one question serves many requests.

The budget of this process stays as it is, and comes first: it sets the pace. The shared one is asked in addition. While nobody
answers, this process uses the part of its own budget that is fair among the members last known.
"""

from __future__ import annotations

import math
from typing import Protocol

import gevent
from gevent.lock import BoundedSemaphore

from pumpwatch.clock import Clock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.net.sliding_window import Verdict

LONGEST_SLICE_S = 1.0  # a slice is used up within this time, or it is lost
LONGEST_SLEEP_S = 5.0  # before it is asked again: others may have gone


class Purse(Protocol):
    """A window of weights that others use as well."""

    def take(self, wanted: int, least: int) -> Verdict:
        """Return what is granted of `wanted`, at least `least` or nothing. Raises ServiceUnavailable without an answer."""

    def hold(self, seconds: float) -> None:
        """Have nobody use any for so long. It does not wait."""

    @property
    def limit(self) -> int:
        """Return the weight of a whole window."""

    @property
    def members(self) -> int:
        """Return how many use it, by the last answer; at least 1."""

    def note(self, outcome: str) -> None:
        """Count how a request was paid: `slice` without a question, `asked`, `denied` for now, or `away` without an answer."""


class Purses(Protocol):
    """The purses of one address."""

    def purse(self, name: str, limit: int, window_s: float) -> Purse:
        """Return the purse of a venue, or of an exchange that counts its markets together."""


def slice_s_of(window_s: float) -> float:
    """Return for how long a slice of such a window may be used: a tenth of it, LONGEST_SLICE_S at most."""
    return min(LONGEST_SLICE_S, window_s / 10)


class SharedBudget(TokenBucket):
    """A budget that asks a purse as well. A request pays both. Callers are served in the order in which they came."""

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
        """Wait until the shared budget has this weight, and use it; whoever has reserved it of the own one calls this."""
        weight = min(self._purse.limit, max(1, -int(-tokens // 1)))
        with self._turn:
            while not self._paid(weight):
                gevent.sleep(min(LONGEST_SLEEP_S, max(0.001, self._again_at - self._clock.monotonic())))

    def _paid(self, weight: int) -> bool:
        """Pay from the slice, or from a new one; return False where the purse is empty."""
        now = self._clock.monotonic()
        if now >= self._ends_at:
            self._size = max(1, min(self._most, self._used))  # as much as was needed lately
            self._left = self._used = 0
        asks = self._left < weight
        if asks:
            lacking = weight - self._left
            if self._left or self._used:  # a slice that did not last
                self._size = min(self._most, 2 * self._size)
            try:
                verdict = self._purse.take(max(lacking, min(self._size, self._purse.limit)), lacking)
            except ServiceUnavailable:
                self._set_away(True)
                self._purse.note("away")
                return True
            self._set_away(False)
            if not verdict.granted:
                self._again_at = self._clock.monotonic() + verdict.wait_s
                self._purse.note("denied")
                return False
            self._left, self._ends_at = self._left + verdict.granted, now + self._slice_s
        self._left -= weight
        self._used += weight
        self._purse.note("asked" if asks else "slice")
        return True

    def _set_away(self, away: bool) -> None:
        """Use a fair part while the purse does not answer, and all of it when it does."""
        self.away = away
        part = self._asked_part / (self._purse.members if away else 1)
        if not math.isclose(part, self.part):
            super().share(part)

    def share(self, part: float) -> None:
        """Use only this part of the own budget, see `TokenBucket.share`; what is shared counts every process anyway."""
        self._asked_part = part
        self._set_away(self.away)

    def wait_s(self, tokens: float = 1) -> float:
        """Return the seconds until both budgets are likely to have this weight, without using any."""
        return max(super().wait_s(tokens), self._again_at - self._clock.monotonic())

    def pause(self, seconds: float) -> None:
        """Give out nothing for so long, here and at every other member."""
        super().pause(seconds)
        self._left = 0
        self._purse.hold(seconds)
