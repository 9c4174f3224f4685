"""Computes the wait before the next try after a failure."""

from __future__ import annotations

import random


class Backoff:
    """Exponential back-off with full jitter: a uniform draw below a ceiling that doubles up to `cap_s`.

    After `cool_after` failures in a row every wait is at least `cool_s`, so that a service that keeps failing is left alone.
    """

    def __init__(self, base_s: float = 0.5, cap_s: float = 60.0, cool_after: int = 10, cool_s: float = 30.0) -> None:
        self._base_s, self._cap_s = base_s, cap_s
        self._cool_after, self._cool_s = cool_after, cool_s
        self.failures = 0

    def next_s(self) -> float:
        """Count one failure and return the seconds to wait."""
        ceiling = min(self._cap_s, self._base_s * 2**min(self.failures, 30))
        self.failures += 1
        wait = random.uniform(0, ceiling)
        return max(wait, self._cool_s) if self.failures >= self._cool_after else wait

    def reset(self) -> None:
        """Forget the failures; call it after a success."""
        self.failures = 0
