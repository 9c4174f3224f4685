"""Symbols that a venue rejects: left out, tried again more and more rarely, and a gap where they were read before."""

from __future__ import annotations

import logging

from pumpwatch.clock import NS_PER_S
from pumpwatch.feeds.rejected_symbols import LONGEST_ROUNDS
from pumpwatch.model import Gap
from tests.feeds.scripted import VenueWorld, gaps_of, subscribed, until

EARLIER_NS = 1_700_000_000 * NS_PER_S


def test_a_new_symbol_that_is_rejected_stays_a_gap():
    with VenueWorld([f"S{i}" for i in range(20)]) as world:
        until(lambda: len(subscribed(world)) == 20)
        world.refuses = lambda symbol: symbol == "NEW"
        world.listed |= {"NEW"}
        until(lambda: world.feeds.status()["refused"] == ["NEW"] and gaps_of(world, "NEW"))
        (begun,) = gaps_of(world, "NEW")
        until(lambda: gaps_of(world, "NEW")[0].to_ns > begun.to_ns)
        world.refuses = lambda symbol: False
        until(lambda: "NEW" in subscribed(world) and not world.feeds.status()["refused"])
        assert len(gaps_of(world, "NEW")) == 1


def test_a_rejected_symbol_is_logged_and_tried_again_until_it_is_granted(caplog):
    caplog.set_level(logging.INFO, "pumpwatch.feeds")
    with VenueWorld(["A", "B", "C"]) as world:
        world.refuses = lambda symbol: symbol == "B"
        until(lambda: world.feeds.status()["refused"] == ["B"] and subscribed(world) == {"A", "C"})
        until(lambda: world.events.count("refused") >= 3)  # each try is an event
        assert world.records.connection_events[-1].reason.startswith("B: ")
        world.refuses = lambda symbol: False
        until(lambda: subscribed(world) == {"A", "B", "C"} and "is granted now" in caplog.text)
        assert world.feeds.status()["refused"] == [] and caplog.text.count("left out") == 1
        assert not world.gaps  # it was never seen before


def test_a_symbol_that_is_rejected_after_it_was_read_is_a_gap_that_grows():
    with VenueWorld(["A", "B", "C"]) as world:
        until(lambda: len(subscribed(world)) == 3)
        world.refuses = lambda symbol: symbol == "B"
        world.streams[0].ended = True
        until(lambda: subscribed(world) == {"A", "C"})

        def of_b():
            return [gap for gap in world.gaps.values() if gap.symbol == "B"]

        until(of_b)
        (first,) = of_b()
        until(lambda: of_b()[0].to_ns > first.to_ns)
        assert [gap.from_ns for gap in of_b()] == [first.from_ns] and "rejects" in first.reason


def seen_and_refused(world: VenueWorld) -> Gap:
    """Have B read, then refused; return its gap."""
    until(lambda: len(subscribed(world)) == 3)
    world.refuses = lambda symbol: symbol == "B"
    world.streams[0].ended = True
    until(lambda: subscribed(world) == {"A", "C"} and gaps_of(world, "B"))
    return gaps_of(world, "B")[0]


def test_the_gap_of_a_rejected_symbol_grows_without_a_list_and_a_little_ahead():
    with VenueWorld(["A", "B", "C"], refresh_s=600.0) as world:
        first = seen_and_refused(world)
        assert first.to_ns > world.clock.now_ns() + NS_PER_S
        until(lambda: gaps_of(world, "B")[0].to_ns > first.to_ns)


def test_the_gap_of_a_rejected_symbol_reaches_to_the_stop():
    with VenueWorld(["A", "B", "C"], refresh_s=600.0) as world:
        seen_and_refused(world)
        world.clock.wall_s += 100.0
    assert gaps_of(world, "B")[0].to_ns > world.clock.now_ns() - NS_PER_S


def test_a_rejected_symbol_missing_from_one_list_has_one_continuous_gap():
    with VenueWorld(["A", "B", "C"], refresh_s=1.5) as world:
        seen_and_refused(world)
        world.listed -= {"B"}
        before = world.asked
        until(lambda: world.asked > before)  # one list lacks it: after a second one it would count as delisted meanwhile
        world.listed |= {"B"}
        world.refuses = lambda symbol: False
        until(lambda: "B" in subscribed(world))
        granted_ns = world.clock.now_ns()
        until(lambda: len(gaps_of(world, "B")) == 2 and "B" not in world.feeds._unread)
        first, second = sorted(gaps_of(world, "B"), key=lambda gap: gap.from_ns)
        assert second.from_ns <= first.to_ns and second.to_ns >= granted_ns


def test_a_symbol_that_is_rejected_when_subscribed_again_was_read_and_is_a_gap():
    with VenueWorld(["A", "B", "C"]) as world:
        until(lambda: len(subscribed(world)) == 3)
        world.refuses = lambda symbol: symbol == "B"
        world.feeds.feeds[0].subscribe_again("B")
        until(lambda: [gap for gap in world.records.gaps if gap.symbol == "B" and "rejects" in gap.reason])


def test_after_an_earlier_run_every_rejected_symbol_may_have_been_read():
    with VenueWorld(["A", "B"], down_since_ns=EARLIER_NS) as world:
        world.refuses = lambda symbol: symbol == "B"
        until(lambda: any(gap.symbol == "B" for gap in world.gaps.values()))


def test_a_symbol_that_is_rejected_here_while_another_process_reads_it_is_missed_once_that_one_has_ended():
    with VenueWorld(["A", "B"], refresh_s=60.0) as world:
        world.refuses = lambda symbol: symbol == "B"
        until(lambda: world.feeds.status()["refused"] == ["B"])
        assert gaps_of(world, "B") == []
        ended_ns = world.clock.now_ns()
        world.feeds.missed_since(ended_ns)
        until(lambda: gaps_of(world, "B"))
        assert gaps_of(world, "B")[0].from_ns <= ended_ns


def test_a_rejected_symbol_that_is_no_longer_listed_is_forgotten():
    with VenueWorld([f"S{i}" for i in range(20)]) as world:
        world.refuses = lambda symbol: symbol == "S7"
        until(lambda: world.feeds.status()["refused"] == ["S7"])
        world.listed -= {"S7"}
        until(lambda: world.feeds.status()["refused"] == [])


def test_tries_grow_rarer_and_never_end():
    with VenueWorld(["A", "B"]) as world:
        world.refuses = lambda symbol: symbol == "B"
        until(lambda: world.events.count("refused") >= 5)
        assert world.asked >= 1 + 1 + 2 + 4 + 8
        assert LONGEST_ROUNDS * 300 <= 3600  # an hour at the default refresh
