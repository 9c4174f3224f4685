"""Use a share of a venue's request budget, and pause while the venue asks clients to wait."""

from __future__ import annotations

from collections.abc import Callable

import gevent

from pumpwatch.clock import Clock
from pumpwatch.net.ratelimit import TokenBucket

LONGEST_LOOK_S = 5.0


class BudgetShare:
    """A share of the budget of one venue, or of all venues that an exchange counts together.

    The other requests of the venue (lists, silent symbols) come first: no request is sent while the whole budget is used up.
    """

    def __init__(self, budget: TokenBucket, share: float, clock: Clock, sleep: Callable[[float], None] = gevent.sleep) -> None:
        self.whole, self._sleep = budget, sleep
        self._own = TokenBucket(share * budget.rate / budget.part, 1.0, clock)

    @property
    def rate(self) -> float:
        """Return the weight of requests that may be sent per second."""
        return self._followed().rate

    def _followed(self) -> TokenBucket:
        """Return the share, adapted to the part of the budget that is in use now."""
        if self._own.part != self.whole.part:
            self._own.use_part(self.whole.part)
        return self._own

    def acquire(self, weight: float, stopping: Callable[[], bool]) -> bool:
        """Wait until a request of this weight may be sent; return False if stopping. The request itself uses the budget."""
        wait_s = self._followed().reserve(weight)
        while not stopping():
            wait_s = max(wait_s, self.whole.wait_s(weight))
            if wait_s <= 0:
                return True
            part_s = min(wait_s, LONGEST_LOOK_S)
            self._sleep(part_s)
            wait_s -= part_s
        return False


class BudgetShares:
    """The shares by budget: venues with a common budget have a common share."""

    def __init__(self, share: float, clock: Clock, sleep: Callable[[float], None] = gevent.sleep) -> None:
        self._share, self._clock, self._sleep = share, clock, sleep
        self._shares: dict[int, BudgetShare] = {}

    def of(self, budget: TokenBucket) -> BudgetShare:
        """Return the share of this budget."""
        known = self._shares.get(id(budget))
        if known is None:
            known = self._shares[id(budget)] = BudgetShare(budget, self._share, self._clock, self._sleep)
        return known
