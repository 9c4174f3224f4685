"""A budget that several processes share, with a purse whose answers are written down."""

from __future__ import annotations

import gevent
import pytest

from pumpwatch.clock import Clock, FakeClock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.net.shared_budget import SharedBudget, slice_s_of
from pumpwatch.net.sliding_window import RateVerdict


class Purse:
    """Grants what is wanted, unless it is empty or away."""

    def __init__(self, *, limit: int = 1000, members: int = 4) -> None:
        self.limit, self.members = limit, members
        self.left, self.away, self.wait_s = 10**6, False, 0.01
        self.asked: list[tuple[int, int]] = []
        self.held: list[float] = []
        self.notes: list[str] = []

    def take(self, wanted: int, least: int) -> RateVerdict:
        self.asked.append((wanted, least))
        if self.away:
            raise ServiceUnavailable("away")
        granted = min(wanted, self.left) if self.left >= least else 0
        self.left -= granted
        return RateVerdict(granted, self.limit, self.left, 0.0 if granted else self.wait_s, 0.0)

    def hold(self, seconds: float) -> None:
        self.held.append(seconds)

    def count_outcome(self, result: str) -> None:
        self.notes.append(result)


@pytest.fixture
def purse() -> Purse:
    return Purse()


def budget_of(purse: Purse, clock: Clock | None = None, rate: float = 1000.0) -> SharedBudget:
    return SharedBudget(rate, 10_000.0, clock or FakeClock(), purse, 1.0)


def test_one_question_serves_more_requests_the_more_there_are(purse: Purse) -> None:
    budget = budget_of(purse)
    for _ in range(500):
        budget.acquire()
    assert [wanted for wanted, _ in purse.asked] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert (purse.notes.count("asked"), purse.notes.count("slice")) == (9, 491)


def test_an_old_slice_is_not_used_and_the_next_one_fits_the_last_need(purse: Purse) -> None:
    clock = FakeClock()
    budget = budget_of(purse, clock)
    for _ in range(7):
        budget.acquire()
    clock.advance(1.0)
    budget.acquire()
    assert [wanted for wanted, _ in purse.asked] == [1, 2, 4, 7]
    clock.advance(1.0)
    budget.acquire()
    assert purse.asked[-1] == (1, 1)


def test_a_slice_is_never_longer_than_the_rate_allows_for_its_time(purse: Purse) -> None:
    budget = budget_of(purse, rate=10.0)
    for _ in range(200):
        budget.acquire()
    assert max(wanted for wanted, _ in purse.asked) == 10


def test_a_heavy_request_takes_the_rest_from_the_purse(purse: Purse) -> None:
    budget = budget_of(purse)
    for weight in (3, 2, 50):
        budget.acquire(weight)
    assert purse.asked == [(3, 3), (2, 2), (50, 50)]
    budget.acquire(5000)  # more than the purse ever has
    assert purse.asked[-1] == (1000, 1000)


def test_an_empty_purse_is_asked_again_when_it_may_have_something_and_callers_stay_in_order(purse: Purse) -> None:
    budget, served, purse.left = budget_of(purse, Clock()), [], 0
    callers = [gevent.spawn(lambda n=number: (budget.acquire(), served.append(n))) for number in range(5)]
    gevent.sleep(0.05)
    assert served == [] and set(purse.notes) == {"denied"} and budget.wait_s() <= 0.01
    purse.left = 100
    gevent.joinall(callers, timeout=30)
    assert served == [0, 1, 2, 3, 4]


def test_others_see_that_the_purse_is_empty(purse: Purse) -> None:
    clock = FakeClock()
    budget, purse.left, purse.wait_s = budget_of(purse, clock), 0, 4.0
    waiting = gevent.spawn(budget.acquire)
    gevent.sleep(0)
    assert budget.wait_s() == 4.0
    waiting.kill()


def test_without_an_answer_a_fair_part_of_the_own_budget_is_used(purse: Purse) -> None:
    budget, purse.away = budget_of(purse), True
    budget.acquire()
    assert budget.away and budget.rate == 250 and budget.part == 0.25
    budget.use_part(0.5)  # another process takes over meanwhile
    assert budget.rate == 125
    purse.members = 2
    budget.acquire()
    assert budget.rate == 250
    purse.away = False
    budget.acquire()
    assert not budget.away and budget.rate == 500
    assert purse.notes == ["away", "away", "asked"]


def test_a_pause_that_the_venue_asked_for_holds_everybody(purse: Purse) -> None:
    budget = budget_of(purse)
    budget.acquire()
    budget.pause(60)
    assert purse.held == [60] and budget.wait_s() >= 60


@pytest.mark.parametrize(("window_s", "slice_s"), [(1.0, 0.1), (2.0, 0.2), (60.0, 1.0), (300.0, 1.0)])
def test_a_slice_is_a_tenth_of_the_window_and_a_second_at_most(window_s: float, slice_s: float) -> None:
    assert slice_s_of(window_s) == slice_s
