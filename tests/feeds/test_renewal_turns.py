"""Turns of a venue's connections: one at a time, the most urgent first, and at different ages."""

from __future__ import annotations

import itertools
import math

from gevent.event import Event

from pumpwatch.feeds.renewal_turns import ANNOUNCED, ASKED_FOR, MARGIN, NOTICE_S, OLD, SPREAD, WISH_S, RenewalTurns, due_age_s


def joined(count: int) -> tuple[RenewalTurns, list[Event]]:
    turns, wakes = RenewalTurns(), [Event() for _ in range(count)]
    for number, wake in enumerate(wakes):
        turns.join(number, wake)
    return turns, wakes


def test_one_connection_has_the_turn_until_it_gives_it_up_and_then_the_most_urgent_is_woken():
    turns, wakes = joined(4)
    assert turns.claim(0, (OLD, 1.0), 0.0)
    assert not turns.claim(1, (OLD, 0.5), 0.0) and not turns.claim(2, (ASKED_FOR, 9.0), 0.0)
    assert not turns.claim(3, (ANNOUNCED, 99.0), 0.0) and turns.claim(0, (OLD, 1.0), 1.0)
    turns.give_up(0)
    assert [wake.is_set() for wake in wakes] == [False, False, False, True]
    assert not turns.claim(2, (ASKED_FOR, 9.0), 1.0) and turns.claim(3, (ANNOUNCED, 99.0), 1.0)
    turns.give_up(3)
    assert turns.claim(2, (ASKED_FOR, 9.0), 2.0)


def test_the_wish_of_a_connection_that_is_gone_holds_up_nobody_for_long():
    turns, _ = joined(2)
    assert turns.claim(0, (OLD, 1.0), 0.0)
    assert not turns.claim(1, (ANNOUNCED, 1.0), 0.0)
    turns.give_up(0)
    assert not turns.claim(0, (OLD, 1.0), WISH_S - 1)
    assert turns.claim(0, (OLD, 1.0), WISH_S + 1)


def test_a_connection_that_is_lost_gives_up_its_wish():
    turns, _ = joined(2)
    turns.claim(0, (OLD, 1.0), 0.0)
    turns.claim(1, (ANNOUNCED, 1.0), 0.0)
    turns.give_up(1)
    turns.give_up(0)
    assert turns.claim(0, (OLD, 1.0), 0.0)


def test_an_announcement_wakes_all_and_concerns_the_connections_of_before_once_in_a_while():
    turns, wakes = joined(3)
    turns.announce(1, "restart", 100.0)
    assert all(wake.is_set() for wake in wakes)
    assert not turns.claim(0, (ASKED_FOR, 0.0), 100.0) and turns.claim(1, (ANNOUNCED, 5.0), 100.0)
    assert turns.asked_for(99.0) == "restart" and turns.asked_for(101.0) == ""
    turns.announce(1, "restart", 100.0 + NOTICE_S - 1)
    assert turns.asked_for(101.0) == ""
    turns.announce(1, "restart again", 100.0 + NOTICE_S)
    assert turns.asked_for(101.0) == "restart again"


def test_connections_that_were_opened_together_are_due_one_after_the_other():
    for count in (2, 12, 57):
        ages = sorted(due_age_s(1000.0, number) for number in range(count))
        assert ages[0] >= 1000 * (1 - MARGIN - SPREAD) and ages[-1] <= 1000 * (1 - MARGIN)
        assert min(later - earlier for earlier, later in itertools.pairwise(ages)) > 1000 * SPREAD / (4 * count)
    assert due_age_s(math.inf, 5) == math.inf
