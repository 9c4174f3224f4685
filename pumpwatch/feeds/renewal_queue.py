"""Decides when the connections of a venue are renewed: one after the other, and not all at the same age.

A renewal has one of three causes. A connection gets old: each one's time comes at another share of the venue's age limit, so
that connections which were opened together are not renewed together. The venue announces a restart on one connection: that one
is renewed first, then all others that were open at that time. A person requests it: all that are open at that time are renewed.

Only one connection is renewed at a time. The most urgent one that waits is next; among those of a restart the connection that
trades most comes first, as a renewal ends with the first trade that the new connection brings.
"""

from __future__ import annotations

import math

from gevent.event import Event

MARGIN, SPREAD = 0.02, 0.10  # shares of the venue's age limit: nothing is renewed later, or earlier, than these leave
GOLDEN = 0.6180339887498949  # its multiples are evenly spread between whole numbers, however many there are
FORGOTTEN_S = 60.0  # a connection that has not claimed its renewal again within this time is gone
NOTICE_S = 600.0  # a venue that announces one restart after the other has all its connections renewed this often at most

Rank = tuple[int, float]  # the lowest is next
ANNOUNCED, REQUESTED, OLD = 0, 1, 2


class RenewalQueue:
    """The connections of one venue that wait to be renewed. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._renewing = -1  # the connection that is renewed now; -1: none
        self._waiting: dict[int, tuple[Rank, float]] = {}  # connection -> its rank, and when it claimed its renewal last
        self._wakes: dict[int, Event] = {}
        self._noticed_at = -math.inf
        self._requested_at, self._reason = -math.inf, ""

    def join(self, number: int, wake: Event) -> None:
        """Add a connection of the venue; `wake` is set when its renewal may begin."""
        self._wakes[number] = wake

    def request_all(self, reason: str, now: float) -> None:
        """Request the renewal of every connection that is open now."""
        self._requested_at, self._reason = now, reason
        for wake in self._wakes.values():
            wake.set()

    def restart_announced(self, number: int, reason: str, now: float) -> None:
        """Renew connection `number`, on which the venue has announced its restart, first, and then all others.

        Within NOTICE_S of such a notice another one concerns its own connection only.
        """
        self._waiting[number] = (ANNOUNCED, 0.0), now
        if now - self._noticed_at >= NOTICE_S:
            self._noticed_at = now
            self.request_all(reason, now)

    def requested(self, opened_at: float) -> str:
        """Return why the renewal of a connection that was opened then has been requested; empty if it has not."""
        return self._reason if opened_at <= self._requested_at else ""

    def claim(self, number: int, rank: Rank, now: float) -> bool:
        """Enter a connection into the queue, or keep it there; return whether its renewal may go on now.

        A connection that waits must call this again within FORGOTTEN_S.
        """
        self._waiting[number] = rank, now
        if self._renewing < 0:
            self._waiting = {other: claim for other, claim in self._waiting.items() if now - claim[1] < FORGOTTEN_S}
            first = self._next()
            if first == number:
                self._renewing = number
            else:
                self._wakes[first].set()
        return self._renewing == number

    def leave(self, number: int) -> None:
        """Take a connection out of the queue, as it is renewed or cannot be renewed now, and wake the next one."""
        self._waiting.pop(number, None)
        if self._renewing == number:
            self._renewing = -1
            if self._waiting:
                self._wakes[self._next()].set()

    def _next(self) -> int:
        return min(self._waiting, key=lambda number: (self._waiting[number][0], number))


def due_age_s(limit_s: float, number: int) -> float:
    """Return the age at which connection `number` is to be renewed, of a venue that ends connections at `limit_s`."""
    return limit_s * (1 - MARGIN - SPREAD * (number * GOLDEN % 1))
