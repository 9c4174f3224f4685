"""The request budgets that venues grant to an address, shared by all collectors behind it."""

from __future__ import annotations

from contextlib import suppress

from gevent.event import Event

from pumpwatch.net.sliding_window import Verdict
from pumpwatch.redis.errors import RedisUnavailable
from pumpwatch.redis.rate_limits import SharedWindows, tagged
from pumpwatch.stats import Stats

APPEARS_S, COUNTS_S = 5.0, 30.0  # a member says so often that it is there, and counts for so long


class VenueBudget:
    """The budget of an address at one venue, or one exchange: the purse of `pumpwatch/net/shared_budget.py`."""

    def __init__(self, address: AddressBudgets, name: str, limit: int, window_s: float) -> None:
        self._address, self._name, self._limit, self._window_s = address, name, limit, window_s
        self._key = tagged(address.windows.prefix, "budget", address.name, name)

    def take(self, wanted: int, least: int) -> Verdict:
        """Return what is granted of `wanted`, at least `least` or nothing. Raises RedisUnavailable."""
        return self._address.windows.take("budget", self._key, self._limit, self._window_s, wanted, least)

    def hold(self, seconds: float) -> None:
        """Have no member use any for so long. It does not wait, and is lost where Redis is away."""
        self._address.windows.hold("budget", self._key, self._window_s, seconds)

    @property
    def limit(self) -> int:
        """Return the weight of a whole window."""
        return self._limit

    @property
    def members(self) -> int:
        """Return how many collectors are behind the address, by the last answer; at least 1."""
        return self._address.members

    def note(self, outcome: str) -> None:
        """Count how a request was paid."""
        self._address.stats.add("shared_budget_requests_total", venue=self._name, outcome=outcome)


class AddressBudgets:
    """The budgets of one address. `run` is the body of a greenlet that says who is there.

    name: the address that venues see. member: a name that no other collector has.
    """

    def __init__(self, windows: SharedWindows, name: str, member: str, stats: Stats) -> None:
        self.windows, self.name, self.stats = windows, name, stats
        self._member, self._stopped = member, Event()
        self._key = tagged(windows.prefix, "budget", name, rest=":members")
        self.members = 1

    def purse(self, name: str, limit: int, window_s: float) -> VenueBudget:
        """Return the budget of a venue, or of an exchange that counts its markets together."""
        return VenueBudget(self, name, limit, window_s)

    def run(self) -> None:
        """Say every APPEARS_S that this collector is there, and learn how many are, until `stop`."""
        while not self._stopped.is_set():
            self.appear()
            self._stopped.wait(APPEARS_S)

    def appear(self) -> None:
        """Say that this collector is there; while Redis is away, the number of members stays as it was."""
        with suppress(RedisUnavailable):
            self.members = max(1, self.windows.appear("budget", self._key, self._member, COUNTS_S))
        self.stats.set("shared_budget_members", self.members)

    def stop(self) -> None:
        """Have `run` end."""
        self._stopped.set()
