"""A ban of one client address from a venue's REST API; each request during the ban lengthens it."""

from __future__ import annotations

import math

from pumpwatch.clock import Clock
from pumpwatch.sim.http_messages import HttpReply

BANNED = 418
LONGEST_S = 3 * 86_400.0


class GrowingBan:
    """The ban of one address, which may not have begun.

    After a warning (the venue's own 429) the address must wait `warned_s`. An earlier request gets 418 and a wait of `first_s`,
    and each further one a wait twice as long. A completed wait ends the ban.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = self._next_s = 0.0

    def warn(self, warned_s: float, first_s: float) -> None:
        """Record that the address was warned."""
        self._until, self._next_s = self._clock.monotonic() + warned_s, first_s

    def answer(self) -> HttpReply | None:
        """Count a request; return the rejection if the address must still wait."""
        now = self._clock.monotonic()
        if now >= self._until:
            return None
        wait_s, self._next_s = self._next_s, min(2 * self._next_s, LONGEST_S)
        self._until = now + wait_s
        return HttpReply(BANNED, b'{"code":-1003,"msg":"banned: too many requests"}', {"Retry-After": str(math.ceil(wait_s))})
