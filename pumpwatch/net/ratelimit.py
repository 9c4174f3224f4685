"""Keeps within a venue's limits on messages, connections and requests."""

from __future__ import annotations

import gevent

from pumpwatch.clock import Clock


class TokenBucket:
    """Gives out `rate` tokens a second; at most `burst` unused ones are saved up.

    Callers are served in the order in which they came, so that a burst of callers never exceeds the rate.
    """

    def __init__(self, rate: float, burst: float, clock: Clock) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._whole = rate, burst
        self._tokens = burst
        self._at = clock.monotonic()

    def acquire(self, tokens: float = 1) -> None:
        """Wait in this greenlet until `tokens` are available, and use them."""
        wait_s = self.reserve(tokens)
        if wait_s > 0:
            gevent.sleep(wait_s)

    def reserve(self, tokens: float = 1) -> float:
        """Use `tokens` now and return the seconds that the caller must wait before it acts."""
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - tokens
        self._at = now
        return max(0.0, -self._tokens / self._rate)

    def use_part(self, part: float) -> None:
        """Use only this part of the rate and of the burst from now on; 1 is the whole limit.

        The burst is at least one token, because nothing could be given out otherwise. Waiting callers keep their time and their
        order; a pause keeps its length.
        """
        wait_s = self.reserve(0)
        self._rate, self._burst = part * self._whole[0], max(min(1.0, self._whole[1]), part * self._whole[1])
        self._tokens = -wait_s * self._rate if wait_s else min(self._tokens, self._burst)

    @property
    def rate(self) -> float:
        """Return the tokens a second that are given out in the long run."""
        return self._rate

    @property
    def part(self) -> float:
        """Return the part of the rate that is used, see `use_part`."""
        return self._rate / self._whole[0]

    def wait_s(self, tokens: float = 1) -> float:
        """Return the seconds until `tokens` are available, without using any."""
        held = min(self._burst, self._tokens + (self._clock.monotonic() - self._at) * self._rate)
        return max(0.0, (min(tokens, self._burst) - held) / self._rate)

    def pause(self, seconds: float) -> None:
        """Give out nothing for `seconds`, as the venue asked."""
        self._tokens = min(self._tokens, -seconds * self._rate)
