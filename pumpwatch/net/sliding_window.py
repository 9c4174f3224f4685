"""A rate limit over a sliding window, in memory. `pumpwatch/redis/rate_limits.py` has the same rules for several processes.

A window is cut into SLOTS slots. What was granted counts until its whole slot has left the window, so that no window of that
length, wherever it begins, holds more than the limit.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

SLOTS = 60


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one question.

    granted: the weight that may be used. remaining: of the limit, after this. wait_s: until what was denied may be asked again,
    0 where it was granted. reset_s: until the whole limit is there, if nothing more is granted.
    """

    granted: int
    limit: int
    remaining: int
    wait_s: float
    reset_s: float

    @property
    def allowed(self) -> bool:
        """Return whether it was granted."""
        return self.wait_s == 0


@dataclass(slots=True)
class _Window:
    """The grants of one client: [slot, weight], and the sum."""

    slots: deque[list[int]] = field(default_factory=deque)
    total: int = 0


class SlidingWindows:
    """Counts what each client is granted within `window_s`. Those that asked longest ago are forgotten first.

    limit: weight that one client has in a window. known: clients that are remembered.
    """

    def __init__(self, limit: int, window_s: float, known: int = 4096) -> None:
        self.limit, self._known = limit, known
        self._slot_s = window_s / SLOTS
        self._clients: OrderedDict[str, _Window] = OrderedDict()  # the one that asked last is the last

    def __len__(self) -> int:
        """Return the number of clients that are remembered."""
        return len(self._clients)

    def take(self, client: str, now_s: float, weight: int = 1) -> Verdict:
        """Count `weight` if all of it is within the limit, and nothing otherwise."""
        return self._asked(client, now_s, weight, self.limit)

    def look(self, client: str, now_s: float) -> Verdict:
        """Return what `take` would answer for a weight of 1, without counting it."""
        return self._asked(client, now_s, 1, self.limit, counts=False)

    def note(self, client: str, now_s: float) -> None:
        """Count one that somebody else has granted."""
        self._asked(client, now_s, 1, 1 << 62)

    def _asked(self, client: str, now_s: float, weight: int, limit: int, *, counts: bool = True) -> Verdict:
        window = self._clients.pop(client, None) or _Window()
        self._clients[client] = window
        while len(self._clients) > self._known:
            self._clients.popitem(last=False)
        slots, slot = window.slots, int(now_s / self._slot_s)
        while slots and slots[0][0] < slot - SLOTS:
            window.total -= slots.popleft()[1]
        if window.total + weight > limit:
            return Verdict(0, self.limit, max(0, limit - window.total), self._wait_s(window, now_s, weight, limit),
                           self._left_s(slots[-1][0], now_s) if slots else 0.0)
        if counts and slots and slots[-1][0] >= slot:
            slots[-1][1] += weight
        elif counts:
            slots.append([slot, weight])
        window.total += weight if counts else 0
        return Verdict(weight, self.limit, max(0, limit - window.total), 0.0,
                       self._left_s(slots[-1][0], now_s) if slots else 0.0)

    def _wait_s(self, window: _Window, now_s: float, weight: int, limit: int) -> float:
        """Return the seconds until enough has left the window."""
        over = window.total + weight - limit
        for slot, granted in window.slots:
            over -= granted
            if over <= 0:
                return max(0.001, self._left_s(slot, now_s))
        return SLOTS * self._slot_s  # more than the limit can ever hold

    def _left_s(self, slot: int, now_s: float) -> float:
        """Return the seconds until a slot has left the window."""
        return max(0.0, (slot + SLOTS + 1) * self._slot_s - now_s)
