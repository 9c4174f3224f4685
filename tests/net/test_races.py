"""Races between two connections: the winner, and its lead."""

from __future__ import annotations

from pumpwatch.net.races import HALVED_AT, Races


def test_the_lead_is_the_mean_of_the_samples_that_were_won():
    races = Races()
    races.record(1, 2, 2_000_000)
    races.record(1, 2, 4_000_000)
    races.record(2, 1, 1_000_000)
    assert races.lead(1, 2) == (2, 3.0) and races.lead(2, 1) == (1, 1.0) and races.lead(1, 3) == (0, 0.0)


def test_old_samples_lose_their_weight():
    races = Races()
    for _ in range(HALVED_AT):
        races.record(1, 2, 1_000_000)
        races.record(2, 1, 3_000_000)
    races.record(1, 2, 1_000_000)
    assert races.lead(1, 2) == (HALVED_AT // 2 + 1, 1.0) and races.lead(2, 1)[0] <= HALVED_AT // 2 + 1


def test_connections_that_are_gone_are_forgotten():
    races = Races()
    races.record(1, 2, 5)
    races.record(1, 3, 5)
    races.keep([1, 3])
    assert races.lead(1, 2) == (0, 0.0) and races.lead(1, 3)[0] == 1
