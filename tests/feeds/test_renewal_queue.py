"""Renewals of a venue's connections: one at a time, the most urgent first, and at different ages."""

from __future__ import annotations

import itertools
import math

from gevent.event import Event

from pumpwatch.feeds.renewal_queue import (
    ANNOUNCED,
    FORGOTTEN_S,
    MARGIN,
    NOTICE_S,
    OLD,
    REQUESTED,
    SPREAD,
    RenewalQueue,
    due_age_s,
)


def joined(count: int) -> tuple[RenewalQueue, list[Event]]:
    queue, wakes = RenewalQueue(), [Event() for _ in range(count)]
    for number, wake in enumerate(wakes):
        queue.join(number, wake)
    return queue, wakes


def test_one_connection_is_renewed_at_a_time_and_then_the_most_urgent_is_woken():
    queue, wakes = joined(4)
    assert queue.claim(0, (OLD, 1.0), 0.0)
    assert not queue.claim(1, (OLD, 0.5), 0.0) and not queue.claim(2, (REQUESTED, 9.0), 0.0)
    assert not queue.claim(3, (ANNOUNCED, 99.0), 0.0) and queue.claim(0, (OLD, 1.0), 1.0)
    queue.leave(0)
    assert [wake.is_set() for wake in wakes] == [False, False, False, True]
    assert not queue.claim(2, (REQUESTED, 9.0), 1.0) and queue.claim(3, (ANNOUNCED, 99.0), 1.0)
    queue.leave(3)
    assert queue.claim(2, (REQUESTED, 9.0), 2.0)


def test_a_vanished_connection_does_not_block_the_queue_for_long():
    queue, _ = joined(2)
    assert queue.claim(0, (OLD, 1.0), 0.0)
    assert not queue.claim(1, (ANNOUNCED, 1.0), 0.0)
    queue.leave(0)
    assert not queue.claim(0, (OLD, 1.0), FORGOTTEN_S - 1)
    assert queue.claim(0, (OLD, 1.0), FORGOTTEN_S + 1)


def test_a_connection_that_is_lost_leaves_the_queue():
    queue, _ = joined(2)
    queue.claim(0, (OLD, 1.0), 0.0)
    queue.claim(1, (ANNOUNCED, 1.0), 0.0)
    queue.leave(1)
    queue.leave(0)
    assert queue.claim(0, (OLD, 1.0), 0.0)


def test_an_announcement_wakes_all_and_concerns_the_connections_of_before_once_in_a_while():
    queue, wakes = joined(3)
    queue.restart_announced(1, "restart", 100.0)
    assert all(wake.is_set() for wake in wakes)
    assert not queue.claim(0, (REQUESTED, 0.0), 100.0) and queue.claim(1, (ANNOUNCED, 5.0), 100.0)
    assert queue.requested(99.0) == "restart" and queue.requested(101.0) == ""
    queue.restart_announced(1, "restart", 100.0 + NOTICE_S - 1)
    assert queue.requested(101.0) == ""
    queue.restart_announced(1, "restart again", 100.0 + NOTICE_S)
    assert queue.requested(101.0) == "restart again"


def test_connections_that_were_opened_together_are_due_one_after_the_other():
    for count in (2, 12, 57):
        ages = sorted(due_age_s(1000.0, number) for number in range(count))
        assert ages[0] >= 1000 * (1 - MARGIN - SPREAD) and ages[-1] <= 1000 * (1 - MARGIN)
        assert min(later - earlier for earlier, later in itertools.pairwise(ages)) > 1000 * SPREAD / (4 * count)
    assert due_age_s(math.inf, 5) == math.inf
