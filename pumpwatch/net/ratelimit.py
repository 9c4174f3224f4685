"""Keeping a venue's limits on messages, connections and requests."""

from __future__ import annotations

import gevent

from pumpwatch.clock import Clock


class TokenBucket:
    """`rate` tokens a second, at most `burst` saved up; `take` waits its turn in a greenlet.

    Waiting callers are served in the order they came, so a burst of them never exceeds the rate.
    """

    def __init__(self, rate: float, burst: float, clock: Clock) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens = burst
        self._at = clock.monotonic()

    def acquire(self, tokens: float = 1) -> None:
        """Wait until `tokens` are there and use them up."""
        wait_s = self.reserve(tokens)
        if wait_s > 0:
            gevent.sleep(wait_s)

    def reserve(self, tokens: float = 1) -> float:
        """Use up `tokens` now and return the seconds the caller has to wait before it acts on them."""
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - tokens
        self._at = now
        return max(0.0, -self._tokens / self._rate)

    def pause(self, seconds: float) -> None:
        """Let nobody through for `seconds`: the venue said so."""
        self._tokens = min(self._tokens, -seconds * self._rate)
