"""The budgets of an address, shared by several collectors through real servers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import gevent
import pytest

from pumpwatch.clock import Clock
from pumpwatch.config import Config
from pumpwatch.feeds.rate_limits import ConnectLimit, VenueRateLimits
from pumpwatch.net.shared_budget import SharedBudget
from pumpwatch.plugins import load_plugins
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.rate_limits import SharedWindows
from pumpwatch.redis.venue_budgets import AddressBudgets
from pumpwatch.stats import Stats
from tests.redis.waiting import PATIENT_S, connected, eventually, in_thread
from tests.redis_server import RedisNode, single


@pytest.fixture
def alone(single_redis: RedisNode) -> Iterator[RedisConnection]:
    connection = connected([single_redis.address])
    yield connection
    connection.close()


def budgets(connection: RedisConnection, member: str, address: str = "192.0.2.7") -> AddressBudgets:
    return AddressBudgets(SharedWindows(connection, PATIENT_S), address, member, Stats())


def test_members_of_one_address_share_a_venue_and_others_do_not(alone: RedisConnection) -> None:
    one, two, elsewhere = (budgets(alone, *who) for who in (("a",), ("b",), ("c", "192.0.2.8")))
    assert one.purse("binance.spot", 10, 60.0).take(8, 1).granted == 8
    assert two.purse("binance.spot", 10, 60.0).take(8, 1).granted == 2
    assert two.purse("binance.futures", 10, 60.0).take(8, 1).granted == 8
    assert elsewhere.purse("binance.spot", 10, 60.0).take(8, 1).granted == 8


def test_a_venue_that_asks_one_member_for_patience_gets_it_from_all(alone: RedisConnection) -> None:
    one, two = (budgets(alone, name).purse("binance.spot", 10, 60.0) for name in "ab")
    one.hold(300)
    eventually(lambda: not two.take(0, 0).allowed, "the other one is held")
    assert 290 < two.take(1, 1).wait_s <= 300


def test_a_member_learns_how_many_there_are(alone: RedisConnection) -> None:
    one, two = budgets(alone, "a"), budgets(alone, "b")
    part = gevent.spawn(one.run)
    eventually(lambda: one.windows.count_member("budget", "pumpwatch:{budget:192.0.2.7}:members", "a", 30.0) == 1, "it is there")
    two.report_member()
    assert two.members == 2 and two.stats.get("shared_budget_members") == 2
    one.stop()
    part.join(30)
    assert part.dead


def test_collectors_at_one_address_keep_within_the_budget_together(alone: RedisConnection) -> None:
    """Each has a budget of its own that would allow it; together they would send three times as much."""
    both = [budgets(alone, name) for name in "abc"]
    made = [SharedBudget(1000.0, 1000.0, Clock(), each.purse("binance.spot", 60, 30.0), 0.5) for each in both]
    sent: list[float] = []
    clock = Clock()

    def send(budget: SharedBudget) -> None:
        while True:
            budget.acquire(2)
            sent.append(clock.monotonic())

    senders = [gevent.spawn(send, budget) for budget in made]

    def paid(each: AddressBudgets, outcome: str) -> float:
        return each.stats.get("shared_budget_requests_total", venue="binance.spot", outcome=outcome)

    eventually(lambda: all(paid(each, "denied") for each in both), "the window is full")
    gevent.killall(senders)
    assert all(2 * sum(first <= at < first + 20 for at in sent) <= 60 for first in sent)
    asked, slices = (sum(paid(each, outcome) for each in both) for outcome in ("asked", "slice"))
    assert asked + slices == len(sent) and slices > 0


def test_collectors_at_one_address_connect_no_more_often_than_the_venue_allows(alone: RedisConnection) -> None:
    facts = next(iter(load_plugins(Config()).venues)).limits
    facts = dataclasses.replace(facts, connects_per_second=1000.0, connects_per_5_minutes=4)
    members = [budgets(alone, name) for name in "abcde"]
    connects = [gevent.spawn(ConnectLimit(facts, Clock(), each, "binance.spot").acquire) for each in members]

    def denied() -> int:
        return sum(each.stats.get("shared_budget_requests_total", venue="binance.spot connects", outcome="denied") > 0
                   for each in members)

    eventually(lambda: denied() == 2 and sum(connect.ready() for connect in connects) == 3, "three connect, and two must wait")
    gevent.killall(connects)


def test_without_redis_each_member_uses_its_part_and_with_it_the_whole_again() -> None:
    with single() as node:
        connection = connected([node.address])
        one, two = budgets(connection, "a"), budgets(connection, "b")
        two.report_member()
        one.report_member()
        budget = SharedBudget(1000.0, 1000.0, Clock(), one.purse("binance.spot", 600, 60.0), 0.001)
        budget.acquire()
        assert (budget.rate, one.members) == (1000, 2)
        in_thread(node.kill)
        eventually(lambda: acquired(budget).away, "nobody answers")
        one.report_member()
        assert (budget.rate, one.members) == (500, 2)
        in_thread(node.start)
        eventually(lambda: not acquired(budget).away, "it is back")
        assert budget.rate == 1000
        connection.close()


def acquired(budget: SharedBudget) -> SharedBudget:
    gevent.sleep(0.002)  # a slice is too old
    budget.acquire()
    return budget


def test_the_purse_of_a_venue_holds_three_quarters_of_its_limit(alone: RedisConnection) -> None:
    limits = VenueRateLimits(Clock(), budgets(alone, "a"))
    for venue in load_plugins(Config()).venues:
        budget = limits.requests(venue)
        assert isinstance(budget, SharedBudget)
        allowed = venue.limits.requests_per_minute / 60 * venue.limits.request_window_s
        assert budget._purse.limit == int(0.75 * allowed) >= 1
        assert limits.requests(venue) is budget
