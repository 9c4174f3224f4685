"""The connections of a venue: symbols that move, symbols on two connections, and renewals one after the other."""

from __future__ import annotations

import gevent
import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.feeds.connections import DOUBLE
from pumpwatch.model import Control, ControlKind, Gap
from tests.feeds.scripted import VenueWorld, gaps_of, quick, subscribed, until

RECONNECT = Control(ControlKind.RECONNECT, reason="serverShutdown")


def symbols(count: int) -> list[str]:
    return [f"S{number}" for number in range(count)]


def all_up(world: VenueWorld, connections: int) -> bool:
    status = world.feeds.status()
    return status["connections"] == status["connections_up"] == connections


def double_of(world: VenueWorld, number: int = 0):
    return world.feeds._connections.doubles[number]


def stream_of(world: VenueWorld, feed):
    return feed._session.connection.stream


def open_now(world: VenueWorld) -> int:
    return sum(not stream.closed for stream in world.streams)


def gaps(world: VenueWorld) -> list[Gap]:
    return list(world.gaps.values())


def settled(world: VenueWorld, connections: int) -> VenueWorld:
    """Wait until all connections are up, and have been for longer than gaps reach back."""
    until(lambda: all_up(world, connections))
    trade_on(world)
    return world


def trade_on(world: VenueWorld) -> None:
    """Let every connection trade, now and some seconds later."""
    for _ in range(2):
        world.clock.wall_s += 5
        world.trade()
        gevent.sleep(0.1)


def test_with_redundancy_each_symbol_is_on_two_connections_at_different_addresses():
    with VenueWorld(symbols(5), redundancy=2, symbols_per_connection=3) as world:
        until(lambda: all_up(world, 4))
        assert [feed.symbols for feed in world.feeds.feeds] == [double_of(world, number).symbols for number in range(2)]
        status = world.feeds.status()
        assert status["subscribed"] == status["instruments"] == 5
        assert [(row["connection"], row["double"], row["up"]) for row in status["pairs"]] == [
            (0, DOUBLE, [True, True]), (1, DOUBLE + 1, [True, True])]
        assert all(row["addresses"][0] != row["addresses"][1] for row in status["pairs"])
        assert world.avoided.count("") == 2 and len(set(world.avoided)) == 3


def test_either_connection_of_a_pair_may_be_cut_in_turn_without_a_gap():
    with VenueWorld(symbols(3), redundancy=2) as world:
        settled(world, 2)
        for feed in (world.feeds.feeds[0], double_of(world), world.feeds.feeds[0]):
            lost = feed.established_at_ns
            stream_of(world, feed).ended = True
            until(lambda feed=feed, lost=lost: feed.up and feed.established_at_ns > lost)
            trade_on(world)
        assert world.events.count("down") == 3 and not gaps(world)


def test_a_symbol_without_a_double_is_in_the_gap_of_its_connection_and_one_with_a_double_is_not():
    with VenueWorld(symbols(3), redundancy=["S1"]) as world:
        settled(world, 2)
        assert double_of(world).symbols == {"S1"}
        stream_of(world, world.feeds.feeds[0]).ended = True
        until(lambda: world.events.count("up") == 3)
        assert {gap.symbols for gap in gaps(world)} == {("S0", "S2")}


def test_both_connections_cut_together_are_one_gap_from_the_first_loss_until_either_is_back():
    with VenueWorld(symbols(3), redundancy=2) as world:
        settled(world, 2)
        before_ns = world.clock.now_ns()
        for feed in (world.feeds.feeds[0], double_of(world)):
            stream_of(world, feed).ended = True
        until(lambda: world.events.count("up") == 4)
        gevent.sleep(1.2)
        (gap,) = gaps(world)
        assert gap.symbols == ("S0", "S1", "S2") and before_ns - 3 * NS_PER_S < gap.from_ns <= before_ns
        first_up_ns = [event.at_ns for event in world.records.connection_events if event.event == "up"][2]
        assert first_up_ns < gap.to_ns < first_up_ns + 4 * NS_PER_S
        assert len(world.gaps) == 1


def test_the_second_loss_while_the_first_connection_is_away_begins_the_gap():
    with VenueWorld(symbols(2), redundancy=2) as world:
        settled(world, 2)
        world.failing = True
        stream_of(world, world.feeds.feeds[0]).ended = True
        until(lambda: "refused" in world.events)
        world.clock.wall_s += 10
        trade_on(world)
        assert not gaps(world)
        lost_ns = world.clock.now_ns()
        stream_of(world, double_of(world)).ended = True
        until(lambda: gaps(world))
        world.failing = False
        until(lambda: all_up(world, 2))
        gevent.sleep(1.2)
        (gap,) = gaps(world)
        assert lost_ns - 3 * NS_PER_S < gap.from_ns <= lost_ns + NS_PER_S and gap.symbols == ("S0", "S1")


def test_a_coin_is_doubled_at_once_and_let_go_afterwards():
    with VenueWorld(symbols(4)) as world:
        settled(world, 1)
        world.feeds.double("S2")
        until(lambda: all_up(world, 2))
        assert double_of(world).granted == {"S2"} and not gaps(world)
        world.feeds.release("S2")
        until(lambda: all_up(world, 1) and open_now(world) == 1)
        world.feeds.double("S3")
        until(lambda: all_up(world, 2) and double_of(world).granted == {"S3"})
        assert not gaps(world) and not world.feeds.status()["problem"] and not world.feeds.status()["redundancy_problem"]


def test_a_coin_that_is_listed_while_it_is_doubled_is_read_twice():
    with VenueWorld(symbols(2)) as world:
        settled(world, 1)
        world.feeds.double("NEW")
        world.listed |= {"NEW"}
        until(lambda: all_up(world, 2) and double_of(world).granted == {"NEW"})


def test_a_symbol_that_only_the_second_connection_rejects_is_read_on_without_a_gap():
    with VenueWorld(symbols(3), redundancy=2, refresh_s=60.0) as world:
        until(lambda: subscribed(world) == set(symbols(3)))
        world.refuses = lambda symbol: symbol == "S1"
        until(lambda: world.feeds.status()["pairs"])
        world.feeds._connections.reject(DOUBLE, ["S1"], "no such channel")
        gevent.sleep(0.3)
        assert world.feeds.status()["redundancy_problem"].startswith(
            "S1: on one connection instead of two, as the venue rejects the second: no")
        assert subscribed(world) == set(symbols(3)) and "S1" not in double_of(world).symbols
        assert not gaps(world) and not world.feeds.status()["refused"]


def test_a_symbol_that_only_the_first_connection_rejects_is_read_on_by_the_second_until_it_is_requested_again():
    with VenueWorld(symbols(3), redundancy=2, refresh_s=0.3) as world:
        settled(world, 2)
        world.feeds._on_rejected(0, "S1", "no")
        assert "S1" not in world.feeds.placement
        world.refresh(1)
        assert "S1" in double_of(world).granted
        until(lambda: "S1" in world.feeds.placement and world.feeds.status()["refused"] == [])
        until(lambda: "S1" in world.feeds.feeds[0].granted and "S1" in double_of(world).granted)
        gevent.sleep(1.2)
        assert not gaps(world)


def test_a_double_without_a_trade_is_reopened_if_the_first_connection_has_trades():
    with VenueWorld(symbols(1), quick(stale_after_s=1.0), redundancy=2) as world:
        until(lambda: world.feeds.feeds and world.feeds.feeds[0].up)
        world.clock.wall_s += 5
        until(lambda: all_up(world, 2))
        first, double = world.feeds.feeds[0], double_of(world)
        world.clock.wall_s += 20
        world.heard["S0"] = world.clock.now_ns() - 10 * NS_PER_S
        first._session.receive_trades(world.clock.now_ns(), world.clock.now_ns())
        with gevent.Timeout(20):
            while "down" not in world.events:
                world.ping()
                gevent.sleep(0.05)
        (event,) = [event for event in world.records.connection_events if event.event == "down"]
        assert event.connection == double.number and "the connection beside it has trades" in event.reason and not gaps(world)


@pytest.mark.parametrize("asked", ["by a person", "by the venue"])
def test_all_connections_are_renewed_one_after_the_other(asked):
    with VenueWorld(symbols(6), symbols_per_connection=2, redundancy=["S0"]) as world:
        settled(world, 4)
        if asked == "by the venue":
            world.feeds.feeds[1]._session.receive_control(RECONNECT)
        else:
            world.feeds.renew("requested")
            assert world.feeds.awaiting_renewal() == world.feeds.status()["renewing"] == 4
        most = 0
        with gevent.Timeout(60):
            while world.events.count("renewed") < 4:
                world.trade()
                world.clock.monotonic_s += 0.5
                gevent.sleep(0.05)
                most = max(most, open_now(world))
        gevent.sleep(0.2)
        assert world.feeds.awaiting_renewal() == 0
        assert most == 5 and open_now(world) == 4 and not gaps(world) and world.events.count("renewed") == 4
        renewed = [event.connection for event in world.records.connection_events if event.event == "renewed"]
        assert sorted(renewed) == [0, 1, 2, DOUBLE]
        assert asked == "by a person" or renewed[0] == 1


def test_a_symbol_that_moves_stays_on_its_old_connection_until_the_new_one_has_had_it_for_a_while():
    with VenueWorld(symbols(6), symbols_per_connection=4) as world:
        settled(world, 2)
        old = world.feeds.placement.connection_of("S3")
        world.answering = False
        world.feeds.move("S3")
        new = world.feeds.placement.connection_of("S3")
        until(lambda: any("s3" in text for text in stream_of(world, world.feeds.feeds[new]).texts[1:]))
        gevent.sleep(0.4)
        stream = stream_of(world, world.feeds.feeds[old])
        assert not any("UNSUBSCRIBE" in text for text in stream.texts) and "S3" in world.feeds.feeds[old].granted
        world.answering = True
        until(lambda: "S3" in world.feeds.feeds[new].granted)
        gevent.sleep(0.4)
        assert not any("UNSUBSCRIBE" in text for text in stream.texts)
        world.clock.monotonic_s += 2.5
        until(lambda: any("UNSUBSCRIBE" in text and "s3" in text for text in stream.texts))
        until(lambda: "S3" not in world.feeds.feeds[old].granted)
        assert not gaps_of(world, "S3") and not gaps(world) and world.feeds.status()["subscribed"] == 6


def test_a_row_of_a_connection_says_what_it_reads_and_since_when():
    with VenueWorld(symbols(5), redundancy=2, symbols_per_connection=3) as world:
        until(lambda: all_up(world, 4))
        rows = world.feeds.connection_rows()
        assert sum(row["symbols"] for row in rows) == sum(row["granted"] for row in rows) == 10
        assert [row["doubles"] for row in rows if row["connection"] < DOUBLE] == [DOUBLE, DOUBLE + 1]
        assert all(row["up"] and row["age_s"] >= 0 and row["problem"] == "" for row in rows)
