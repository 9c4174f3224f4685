"""A rate limit over a sliding window, in memory. `pumpwatch/redis/rate_limits.py` has the same rules for several processes.

A window is divided into SLOTS slots. A grant counts until its whole slot has left the window, so no window of that length, at any
time, holds more than the limit.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

SLOTS = 60


@dataclass(frozen=True, slots=True)
class RateVerdict:
    """The answer to one request for weight.

    granted: the weight that may be used now. remaining: the rest of the limit. wait_s: until a denied request may be repeated,
    0 if it was granted. reset_s: until the whole limit is available, if nothing more is granted.
    """

    granted: int
    limit: int
    remaining: int
    wait_s: float
    reset_s: float

    @property
    def allowed(self) -> bool:
        """Return whether the weight was granted."""
        return self.wait_s == 0


@dataclass(slots=True)
class _Window:
    """The grants of one client, as [slot, weight], and the sum of the weights."""

    slots: deque[list[int]] = field(default_factory=deque)
    total: int = 0


class SlidingWindows:
    """Counts the weight granted to each client within `window_s`. The clients that asked longest ago are forgotten first.

    limit: the weight of one client in a window. known: how many clients are remembered.
    """

    def __init__(self, limit: int, window_s: float, known: int = 4096) -> None:
        self.limit, self._known = limit, known
        self._slot_s = window_s / SLOTS
        self._clients: OrderedDict[str, _Window] = OrderedDict()  # the client that asked last is the last

    def __len__(self) -> int:
        """Return the number of clients that are remembered."""
        return len(self._clients)

    def take(self, client: str, now_s: float, weight: int = 1) -> RateVerdict:
        """Count `weight` if all of it is within the limit, otherwise nothing."""
        return self._request(client, now_s, weight, self.limit)

    def look(self, client: str, now_s: float) -> RateVerdict:
        """Return what `take` would answer for a weight of 1, without counting it."""
        return self._request(client, now_s, 1, self.limit, counts=False)

    def count_granted(self, client: str, now_s: float) -> None:
        """Count a weight of 1 that another limiter has granted."""
        self._request(client, now_s, 1, 1 << 62)

    def _request(self, client: str, now_s: float, weight: int, limit: int, *, counts: bool = True) -> RateVerdict:
        window = self._clients.pop(client, None) or _Window()
        self._clients[client] = window
        while len(self._clients) > self._known:
            self._clients.popitem(last=False)
        slots, slot = window.slots, int(now_s / self._slot_s)
        while slots and slots[0][0] < slot - SLOTS:
            window.total -= slots.popleft()[1]
        if window.total + weight > limit:
            return RateVerdict(0, self.limit, max(0, limit - window.total), self._wait_s(window, now_s, weight, limit),
                           self._left_s(slots[-1][0], now_s) if slots else 0.0)
        if counts and slots and slots[-1][0] >= slot:
            slots[-1][1] += weight
        elif counts:
            slots.append([slot, weight])
        window.total += weight if counts else 0
        return RateVerdict(weight, self.limit, max(0, limit - window.total), 0.0,
                           self._left_s(slots[-1][0], now_s) if slots else 0.0)

    def _wait_s(self, window: _Window, now_s: float, weight: int, limit: int) -> float:
        """Return the seconds until enough has left the window."""
        over = window.total + weight - limit
        for slot, granted in window.slots:
            over -= granted
            if over <= 0:
                return max(0.001, self._left_s(slot, now_s))
        return SLOTS * self._slot_s  # the weight is above the limit

    def _left_s(self, slot: int, now_s: float) -> float:
        """Return the seconds until a slot has left the window."""
        return max(0.0, (slot + SLOTS + 1) * self._slot_s - now_s)
