"""Decides when the connections of a venue are renewed: one after the other, and not all at the same age.

A renewal has one of three causes. A connection gets old: each one's time comes at another share of the venue's age limit, so
that connections which were opened together are not renewed together. The venue announces a restart on one connection: all that
were opened before are renewed, that one first. A person asks for it: the same.

One connection has the turn at a time. The next turn goes to the most urgent wish; among those of a restart the connection that
trades most comes first, as a renewal ends with the first trade that the new connection brings.
"""

from __future__ import annotations

import math

from gevent.event import Event

MARGIN, SPREAD = 0.02, 0.10  # shares of the venue's age limit: nothing is renewed later, or earlier, than these leave
GOLDEN = 0.6180339887498949  # its multiples are evenly spread between whole numbers, however many there are
WISH_S = 60.0  # a wish that is older is that of a connection that is gone
NOTICE_S = 600.0  # a venue that announces one restart after the other has all its connections renewed this often at most

Rank = tuple[int, float]  # the lowest has the next turn
ANNOUNCED, ASKED_FOR, OLD = 0, 1, 2


class RenewalTurns:
    """The turns of one venue's connections."""

    def __init__(self) -> None:
        self._holder = -1  # the connection that is renewed now; -1: none
        self._wishes: dict[int, tuple[Rank, float]] = {}  # and when it was last expressed
        self._wakes: dict[int, Event] = {}
        self._noticed_at = -math.inf
        self._asked_at, self._asked_for = -math.inf, ""

    def join(self, number: int, wake: Event) -> None:
        """Take part: `wake` is set when the turn may be this connection's."""
        self._wakes[number] = wake

    def ask(self, reason: str, now: float) -> None:
        """Have every connection renewed that is open now (monotonic seconds)."""
        self._asked_at, self._asked_for = now, reason
        for wake in self._wakes.values():
            wake.set()

    def announce(self, number: int, reason: str, now: float) -> None:
        """Have every connection renewed, as the venue has announced a restart on this one."""
        self._wishes[number] = (ANNOUNCED, 0.0), now
        if now - self._noticed_at >= NOTICE_S:
            self._noticed_at = now
            self.ask(reason, now)

    def asked_for(self, opened_at: float) -> str:
        """Return why a connection that was opened then is to be renewed although it is not old, or nothing."""
        return self._asked_for if opened_at <= self._asked_at else ""

    def claim(self, number: int, rank: Rank, now: float) -> bool:
        """Express the wish for the turn, at least every WISH_S; return whether this connection has the turn now."""
        self._wishes[number] = rank, now
        if self._holder < 0:
            self._wishes = {wish: told for wish, told in self._wishes.items() if now - told[1] < WISH_S}
            first = self._first()
            if first == number:
                self._holder = number
            else:
                self._wakes[first].set()
        return self._holder == number

    def give_up(self, number: int) -> None:
        """End a turn or a wish: the connection is renewed, or cannot be now."""
        self._wishes.pop(number, None)
        if self._holder == number:
            self._holder = -1
            if self._wishes:
                self._wakes[self._first()].set()

    def _first(self) -> int:
        return min(self._wishes, key=lambda number: (self._wishes[number][0], number))


def due_age_s(limit_s: float, number: int) -> float:
    """Return the age at which connection `number` is to be renewed, of a venue that ends connections at `limit_s`."""
    return limit_s * (1 - MARGIN - SPREAD * (number * GOLDEN % 1))
