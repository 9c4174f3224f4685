"""Decides when the connections of a venue are renewed: one after the other, and not all at the same age.

A renewal has one of three causes. A connection gets old: each has a different share of the venue's age limit, so that connections
opened together are not renewed together. The venue announces a restart on one connection: that one is renewed first, then all
others that were open at that time. A person requests it: all connections that are open at that time are renewed.

Only one connection is renewed at a time. The most urgent waiting connection is next. After a restart notice the busiest comes
first, because a renewal ends with the first trade of the new connection.
"""

from __future__ import annotations

import math

from gevent.event import Event

MARGIN, SPREAD = 0.02, 0.10  # shares of the venue's age limit: renewals spread over SPREAD, which ends MARGIN before it
GOLDEN = 0.6180339887498949  # the fractional parts of its multiples are evenly spread
FORGOTTEN_S = 60.0  # a connection that has not claimed its renewal again within this time is gone
NOTICE_S = 600.0  # all connections are renewed at most this often, even if a venue keeps announcing restarts

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
        """Renew connection `number`, on which the venue announced a restart, and then all others.

        Another notice within NOTICE_S renews only its own connection.
        """
        self._waiting[number] = (ANNOUNCED, 0.0), now
        if now - self._noticed_at >= NOTICE_S:
            self._noticed_at = now
            self.request_all(reason, now)

    def requested(self, opened_at: float) -> str:
        """Return why a connection opened at `opened_at` is to be renewed; empty if no renewal was requested."""
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
        """Remove a connection that is renewed, or cannot be renewed now, from the queue, and wake the next one."""
        self._waiting.pop(number, None)
        if self._renewing == number:
            self._renewing = -1
            if self._waiting:
                self._wakes[self._next()].set()

    def _next(self) -> int:
        return min(self._waiting, key=lambda number: (self._waiting[number][0], number))


def due_age_s(limit_s: float, number: int) -> float:
    """Return the age in s at which to renew connection `number` of a venue that ends connections at `limit_s`."""
    return limit_s * (1 - MARGIN - SPREAD * (number * GOLDEN % 1))
