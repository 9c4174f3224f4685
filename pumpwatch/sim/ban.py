"""A ban of one address from a venue's REST side, which grows each time the address asks during it."""

from __future__ import annotations

import math

from pumpwatch.clock import Clock
from pumpwatch.sim.http_messages import HttpReply

BANNED = 418
LONGEST_S = 3 * 86_400.0


class GrowingBan:
    """Tells whether an address is banned, and for how long.

    A warning (the venue's own 429) lets it wait `warned_s`. If it asks earlier, it gets 418 and must wait `first_s` from then
    on, and twice as long each further time. Once it has waited, all is forgotten.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = self._next_s = 0.0

    def warn(self, warned_s: float, first_s: float) -> None:
        """Note that the address was told to wait."""
        self._until, self._next_s = self._clock.monotonic() + warned_s, first_s

    def answer(self) -> HttpReply | None:
        """Count a request; return the rejection if the address should still wait."""
        now = self._clock.monotonic()
        if now >= self._until:
            return None
        wait_s, self._next_s = self._next_s, min(2 * self._next_s, LONGEST_S)
        self._until = now + wait_s
        return HttpReply(BANNED, b'{"code":-1003,"msg":"banned: too many requests"}', {"Retry-After": str(math.ceil(wait_s))})
