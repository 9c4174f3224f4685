"""A venue of which some slices are read here, and others elsewhere, against a scripted one."""

from __future__ import annotations

import gevent
import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.feeds.slices import Slices
from pumpwatch.model import Gap
from pumpwatch.slicing import slice_of
from tests.feeds.scripted import VenueWorld, gaps_of, quick, subscribed, until

COUNT = 4
SYMBOLS = [f"S{number}" for number in range(20)]
IN = {number: {symbol for symbol in SYMBOLS if slice_of(symbol, COUNT) == number} for number in range(COUNT)}


def sliced(**options: object) -> VenueWorld:
    return VenueWorld(SYMBOLS, slices=COUNT, **options)


def pass_overlap(world: VenueWorld) -> None:
    world.clock.wall_s += 3.0


def joint_gaps(world: VenueWorld) -> list[Gap]:
    return [gap for gap in world.gaps.values() if not gap.symbol]


def test_an_undivided_venue_has_every_symbol():
    slices = Slices()
    assert not slices.divided and slices.reads("A") and slices.of("A") == 0


def test_nothing_is_read_watched_or_missing_before_a_slice_is_taken_up():
    with sliced(down_since_ns=NS_PER_S) as world:
        until(lambda: world.feeds.has_list)
        world.refresh(2)
        status = world.feeds.status()
        assert world.feeds.watched() == set() and not world.streams and not world.gaps
        assert (status["elsewhere"], status["slices_read"], status["instruments"], status["down_s"]) == (20, [], 0, 0.0)
        assert world.feeds.reads_nothing and world.feeds.is_listed("S1") and not world.feeds.is_listed("OTHER")
        assert {known.symbol for known in world.symbols.known("binance.spot").instruments} == set(SYMBOLS)
        assert len(world.catalogue.ids_of(("binance", "spot"))) == 20  # a window shows the others' trades from the shared store


def test_a_slice_that_is_handed_over_has_no_gap_and_delivers_after_an_overlap():
    with sliced() as world:
        until(lambda: world.feeds.has_list)
        world.feeds.read_slice(1, 0, beside=True)
        assert world.feeds.watched() == set() and not world.feeds.delivers_slice(1)
        until(lambda: subscribed(world) == IN[1] and world.feeds.feeds[0].established_at_ns)
        assert not world.feeds.delivers_slice(1) and world.feeds.watched() == IN[1]
        pass_overlap(world)
        assert world.feeds.delivers_slice(1) and not world.feeds.delivers_slice(2) and not world.gaps
        assert sorted(world.catalogue.instruments[number].symbol for number in world.resumed) == sorted(IN[1])


def test_a_slice_of_a_dead_collector_is_a_gap_of_its_symbols_until_they_are_granted():
    with sliced() as world:
        until(lambda: world.feeds.has_list)
        world.feeds.read_slice(1, 0, beside=True)
        until(lambda: subscribed(world) == IN[1])
        world.answering = False
        since_ns = world.clock.now_ns() - 5 * NS_PER_S
        world.feeds.read_slice(2, since_ns)
        assert world.feeds.watched() == IN[1] | IN[2]  # a gap names the missing ones
        until(lambda: len(joint_gaps(world)) == 1)
        world.answering = True
        until(lambda: subscribed(world) == IN[1] | IN[2])
        granted_ns = world.clock.now_ns()
        gevent.sleep(1.2)
        (gap,) = joint_gaps(world)
        assert set(gap.symbols) == IN[2] and "collector ended" in gap.reason
        assert since_ns - 3 * NS_PER_S < gap.from_ns < since_ns and gap.to_ns >= granted_ns
        count = len(world.records.gaps)
        gevent.sleep(1.2)
        assert len(world.records.gaps) == count


@pytest.mark.parametrize("read_s", [-60.0, 60.0])
def test_a_reader_that_dies_during_a_hand_over_leaves_a_gap_of_the_symbols_not_yet_read_here(read_s):
    """It read until `read_s` after the slice was granted here, or before."""
    with sliced() as world:
        until(lambda: world.feeds.has_list)
        world.feeds.read_slice(1, 0, beside=True)
        until(lambda: subscribed(world) == IN[1] and world.feeds.feeds[0].established_at_ns)
        since_ns = world.feeds.feeds[0].established_at_ns + int(read_s * NS_PER_S)
        world.feeds.read_slice(1, since_ns)
        gevent.sleep(0.1)
        assert [set(gap.symbols) for gap in joint_gaps(world)] == ([IN[1]] if read_s < 0 else [])
        count = len(world.records.gaps)
        gevent.sleep(1.2)
        assert len(world.records.gaps) == count  # it ends as it is granted


def test_a_slice_that_is_left_is_unsubscribed_without_a_gap_and_the_rest_goes_on():
    with sliced() as world:
        world.feeds.read_slice(0, 0, beside=True)
        world.feeds.read_slice(3, 0, beside=True)
        until(lambda: subscribed(world) == IN[0] | IN[3])
        world.feeds.leave_slice(0)
        assert world.feeds.watched() == IN[3]
        until(lambda: any("UNSUBSCRIBE" in text for text in world.streams[0].texts))
        world.refresh(2)
        assert subscribed(world) == IN[3] and len(world.streams) == 1 and not world.gaps
        assert world.feeds.status()["elsewhere"] == 20 - len(IN[3]) and not world.feeds.delivers_slice(0)
        world.feeds.leave_slice(0)
        world.feeds.read_slice(0, 0, beside=True)
        assert world.feeds.watched() == IN[3]  # the other collector is the one that reads it yet
        until(lambda: world.feeds.watched() == IN[0] | IN[3])
        assert not world.gaps


def test_a_slice_that_was_taken_up_before_there_is_a_list_is_read_and_missed_once_there_is_one():
    with sliced() as world:
        listed, world.listed = world.listed, set()
        since_ns = world.clock.now_ns() - 5 * NS_PER_S
        world.feeds.read_slice(1, since_ns)
        world.feeds.read_slice(2, 0, beside=True)
        until(lambda: world.asked > 1)
        assert not world.gaps and not world.feeds.delivers_slice(1)
        world.listed = listed
        until(lambda: subscribed(world) == IN[1] | IN[2])
        until(lambda: joint_gaps(world))
        assert {gap.symbols for gap in joint_gaps(world)} == {tuple(sorted(IN[1]))} and len(world.resumed) == len(IN[1] | IN[2])


def test_the_last_stored_trade_counts_if_the_end_of_reading_is_unknown():
    with sliced() as world:
        at_ns = world.clock.now_ns() - 30 * NS_PER_S
        world.heard = dict.fromkeys(sorted(IN[1])[:1], at_ns)
        world.feeds.read_slice(1, 0)
        world.feeds.read_slice(2, 0)
        until(lambda: subscribed(world) == IN[1] | IN[2])
        until(lambda: joint_gaps(world))
        assert {gap.symbols for gap in joint_gaps(world)} == {tuple(sorted(IN[1]))}
        assert max(gap.from_ns for gap in joint_gaps(world)) < at_ns


def test_a_gap_of_a_connection_goes_on_without_the_symbols_of_a_slice_that_was_left():
    with sliced() as world:
        world.feeds.read_slice(0, 0, beside=True)
        world.feeds.read_slice(3, 0, beside=True)
        until(lambda: subscribed(world) == IN[0] | IN[3] and world.feeds.feeds[0].established_at_ns)
        world.failing = True
        world.streams[0].ended = True
        until(lambda: joint_gaps(world))
        world.feeds.leave_slice(0)
        left_ns = world.clock.now_ns()
        until(lambda: len(joint_gaps(world)) == 2)
        first, second = sorted(joint_gaps(world), key=lambda gap: gap.from_ns)
        assert set(first.symbols) == IN[0] | IN[3] and set(second.symbols) == IN[3]
        assert first.to_ns < left_ns + 4 * NS_PER_S and second.from_ns < first.to_ns
        world.failing = False
        until(lambda: subscribed(world) == IN[3])


def test_a_rejected_symbol_of_a_slice_that_was_left_is_forgotten_and_its_gap_ends():
    name = min(IN[0])
    with sliced() as world:
        world.feeds.read_slice(0, 0, beside=True)
        until(lambda: subscribed(world) == IN[0])
        world.refuses = lambda symbol: symbol == name
        world.feeds.feeds[0].subscribe_again(name)
        until(lambda: gaps_of(world, name))
        assert world.feeds.status()["refused"] == [name]
        world.feeds.leave_slice(0)
        assert world.feeds.status()["refused"] == [] and world.feeds.watched() == set()
        gevent.sleep(1.2)
        count = len(world.records.gaps)
        gevent.sleep(1.2)
        assert len(world.records.gaps) == count


def test_without_unsubscribing_the_connection_is_renewed_with_the_rest_and_never_overfull():
    with sliced(venue=quick(drops=False), symbols_per_connection=12) as world:
        world.feeds.read_slice(0, 0, beside=True)
        world.feeds.read_slice(3, 0, beside=True)
        until(lambda: subscribed(world) == IN[0] | IN[3] and all(feed.established_at_ns for feed in world.feeds.feeds))
        before = len(world.streams)
        world.feeds.leave_slice(0)
        world.feeds.read_slice(1, 0, beside=True)
        for place in world.feeds.placement.places:
            assert place.held <= 12
        with gevent.Timeout(20):
            while "renewed" not in world.events:
                world.trade()
                world.clock.monotonic_s += 0.5
                gevent.sleep(0.05)
        until(lambda: subscribed(world) == IN[3] | IN[1])
        assert len(world.streams) > before and "down" not in world.events and not world.gaps
        last = " ".join(world.streams[-1].texts)
        assert not any(f'"{symbol.lower()}@' in last for symbol in IN[0])


def test_before_the_first_list_the_earliest_known_time_of_a_slice_counts():
    with sliced() as world:
        world.answering = False
        since_ns = world.clock.now_ns() - 5 * NS_PER_S
        for told_ns in (0, since_ns + NS_PER_S, since_ns, 0):
            world.feeds.read_slice(2, told_ns)
        assert not world.feeds.has_list
        until(lambda: joint_gaps(world))
        (gap,) = joint_gaps(world)
        assert set(gap.symbols) == IN[2] and since_ns - 3 * NS_PER_S < gap.from_ns < since_ns
