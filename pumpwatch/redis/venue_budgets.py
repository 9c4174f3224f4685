"""The request budgets that venues grant to an address, shared by all collectors behind it."""

from __future__ import annotations

from contextlib import suppress

from gevent.event import Event

from pumpwatch.net.sliding_window import RateVerdict
from pumpwatch.redis.errors import RedisUnavailable
from pumpwatch.redis.rate_limits import SharedWindows, tagged
from pumpwatch.stats import Stats

APPEARS_S, COUNTS_S = 5.0, 30.0  # between two reports of a member, and how long each one counts


class VenueBudget:
    """The budget of an address at one venue, or one exchange: the purse of `pumpwatch/net/shared_budget.py`."""

    def __init__(self, address: AddressBudgets, name: str, limit: int, window_s: float) -> None:
        self._address, self._name, self._limit, self._window_s = address, name, limit, window_s
        self._key = tagged(address.windows.prefix, "budget", address.name, name)

    def take(self, wanted: int, least: int) -> RateVerdict:
        """Take up to `wanted`, at least `least` or nothing. Raises RedisUnavailable."""
        return self._address.windows.take("budget", self._key, self._limit, self._window_s, wanted, least)

    def hold(self, seconds: float) -> None:
        """Grant nothing to any member for `seconds`. Returns at once; it has no effect while Redis is away."""
        self._address.windows.hold("budget", self._key, self._window_s, seconds)

    @property
    def limit(self) -> int:
        """Return the weight of a whole window."""
        return self._limit

    @property
    def members(self) -> int:
        """Return the number of collectors behind the address by the last answer, at least 1."""
        return self._address.members

    def count_outcome(self, outcome: str) -> None:
        """Count how a request was paid."""
        self._address.stats.add("shared_budget_requests_total", venue=self._name, outcome=outcome)


class AddressBudgets:
    """The budgets of one address. `run` is the body of a greenlet that counts the members.

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
        """Report this collector and update the number of members every APPEARS_S, until `stop`."""
        while not self._stopped.is_set():
            self.report_member()
            self._stopped.wait(APPEARS_S)

    def report_member(self) -> None:
        """Report this collector; while Redis is away, the number of members does not change."""
        with suppress(RedisUnavailable):
            self.members = max(1, self.windows.count_member("budget", self._key, self._member, COUNTS_S))
        self.stats.set("shared_budget_members", self.members)

    def stop(self) -> None:
        """End `run`."""
        self._stopped.set()
