"""Renewals of a connection: its successor beside it, and what the ledger gets where one of both fails."""

from __future__ import annotations

import dataclasses

import gevent
import numpy as np
import pytest

from pumpwatch.model import DISORDER_NS, Control, ControlKind, IdKind
from pumpwatch.records import BESIDE
from pumpwatch.venue import Heartbeat
from tests.feeds.scripted import World, quick, until

RECONNECT = Control(ControlKind.RECONNECT, reason="serverShutdown")


def test_a_connection_is_renewed_with_no_gap_when_it_is_old():
    limits = dataclasses.replace(quick().limits, connection_age_s=0.3)
    with World(quick(limits=limits, stale_after_s=60.0)) as world:
        world.wait_up()
        world.overlap()
        until(lambda: world.events.count("renewed") == 1)
        world.overlap()
        until(lambda: world.events.count("renewed") == 2)
        assert not world.gaps and not world.stats.total("disconnects_total") and world.events[:3] == ["up", "renewed", "renewed"]


@pytest.mark.parametrize("kind", list(IdKind))
def test_asked_to_reconnect_both_are_read_until_the_successor_delivers_and_the_old_one_to_its_end(kind):
    with World(quick(id_kind=kind)) as world:
        world.wait_up()
        world.answering = False
        world.say(RECONNECT)
        until(lambda: len(world.streams) == 2 and world.streams[1].texts)
        assert not world.streams[0].closed and world.events == ["up"]
        world.answering = True
        until(lambda: world.feed._hand_over.successor.established_at_ns)
        gevent.sleep(0.1)
        assert not world.streams[0].closed and world.events == ["up"]  # granted, and no trade so far
        world.clock.monotonic_s += 2.5
        gevent.sleep(0.5)
        assert not world.streams[0].closed
        old = world.connections[0]
        world.trade()
        until(lambda: world.events == ["up", "renewed"])
        assert world.streams[0].closed and not world.streams[1].closed and not world.gaps and world.drained == [old]
        assert world.records.connection_events[-1].reason == "serverShutdown"


@pytest.mark.parametrize("speaks", [True, False])
def test_an_old_connection_that_answers_no_ping_is_read_until_later_data_comes_or_it_is_dead(speaks):
    with World(quick(stale_after_s=40.0)) as world:
        world.wait_up()
        world.streams[0].answers_pings = False
        world.say(RECONNECT)
        until(lambda: world.feed._hand_over.established)
        for _ in range(2):
            world.streams[1].incoming += b"\x89\x00"
            world.connections[1].source.receive_trades(world.clock.now_ns(), world.clock.now_ns())
            world.clock.monotonic_s += 16
            world.clock.wall_s += 16
            gevent.sleep(0.5)
        assert world.events == ["up"]
        world.streams[speaks is False].incoming += b"\x89\x00"
        world.clock.monotonic_s += 0 if speaks else 16
        until(lambda: world.events == ["up", "renewed"])
        assert len(world.gaps) == (not speaks)


@pytest.mark.parametrize("payload", [b"", b"7", b"1700000000000"])
def test_a_pong_that_answers_no_ping_of_ours_does_not_prove_that_the_old_connection_was_read_to_its_end(payload):
    with World() as world:
        world.wait_up()
        world.streams[0].answers_pings = False
        world.say(RECONNECT)
        until(lambda: world.feed._hand_over.established)
        until(lambda: world.streams[0].pings)
        world.streams[0].incoming += 3 * (bytes([0x8A, len(payload)]) + payload)
        world.overlap()
        gevent.sleep(0.5)
        assert world.events == ["up"] and not world.streams[0].closed


def test_without_any_trades_a_successor_takes_over_after_a_while():
    with World() as world:
        world.wait_up()
        world.say(RECONNECT)
        until(lambda: world.feed._hand_over.established)
        world.clock.monotonic_s += 10
        gevent.sleep(0.5)
        assert world.events == ["up"]
        world.clock.monotonic_s += 6
        until(lambda: world.events == ["up", "renewed"])
        assert not world.gaps


def test_a_lag_of_the_venue_extends_the_overlap():
    with World() as world:
        world.wait_up()
        world.buffer.lag.record(np.array([7_000_000_000]))
        world.say(RECONNECT)
        world.overlap()
        world.clock.monotonic_s += 10
        gevent.sleep(0.5)
        assert world.events == ["up"]
        world.clock.monotonic_s += 2
        until(lambda: world.events == ["up", "renewed"])


def test_a_successor_that_is_silent_while_the_old_connection_trades_does_not_take_over():
    with World(quick(stale_after_s=600.0)) as world:
        world.wait_up()
        world.say(RECONNECT)
        until(lambda: world.feed._hand_over.established)
        world.clock.wall_s += 10
        world.connections[0].source.receive_trades(world.clock.now_ns(), world.clock.now_ns())
        world.clock.monotonic_s += 16
        until(lambda: world.stats.total("renewal_failures_total") == 1)
        assert world.streams[1].closed and not world.streams[0].closed and world.feed.up and not world.gaps


@pytest.mark.parametrize(("stood_s", "gaps"), [(3.0, 0), (0.0, 1)])
def test_a_cut_in_the_overlap_leaves_a_gap_only_if_the_successor_had_just_come_up(stood_s, gaps):
    with World() as world:
        world.wait_up()
        world.say(RECONNECT)
        until(lambda: world.feed._hand_over.established)
        stood_ns = world.feed._hand_over.successor.established_at_ns
        world.clock.wall_s += stood_s
        read = world.connections[0].bytes_read
        world.ping()
        until(lambda: not world.connections or world.connections[0].bytes_read > read)
        world.streams[0].ended = True
        until(lambda: world.events == ["up", "renewed"])
        assert "the old connection ended first: cut" in world.records.connection_events[-1].reason
        assert len(world.gaps) == gaps and not world.stats.total("disconnects_total") and world.feed.up
        for gap in world.gaps.values():
            assert gap.from_ns < stood_ns < gap.to_ns and gap.symbols == ("A", "B")


def test_a_successor_that_dies_in_the_overlap_leaves_the_old_connection_alone():
    with World() as world:
        world.wait_up()
        world.say(RECONNECT)
        until(lambda: world.feed._hand_over.established)
        world.streams[1].ended = True
        until(lambda: world.streams[1].closed)
        assert world.feed.up and world.events == ["up"] and not world.gaps
        until(lambda: len(world.streams) == 3)
        world.overlap()
        until(lambda: world.events == ["up", "renewed"])


def test_a_successor_that_dies_leaves_the_old_connection_alone_and_another_follows():
    with World() as world:
        world.wait_up()
        world.answering = False
        world.say(RECONNECT)
        until(lambda: len(world.streams) == 2 and world.streams[1].texts)
        world.streams[1].ended = True
        until(lambda: world.streams[1].closed)
        assert world.feed.up and world.events == ["up"]
        world.answering = True
        until(lambda: len(world.streams) == 3)
        world.overlap()
        until(lambda: world.events == ["up", "renewed"])
        assert len(world.streams) == 3 and not world.gaps
        assert world.stats.total("renewal_failures_total") == 1


def test_a_renewal_that_cannot_connect_is_tried_again():
    with World() as world:
        world.wait_up()
        world.failing = True
        world.say(RECONNECT)
        until(lambda: world.stats.total("renewal_failures_total"))
        world.failing = False
        world.overlap()
        until(lambda: world.events == ["up", "renewed"])
        assert not world.gaps


def test_the_old_connection_dies_while_its_successor_is_opened_and_that_is_a_gap():
    with World() as world:
        world.wait_up()
        last_ns = world.connections[0].received_at_ns
        world.answering = False
        world.say(RECONNECT)
        until(lambda: len(world.streams) == 2 and world.streams[1].texts)
        world.streams[0].ended = True
        until(lambda: world.events == ["up", "down"])
        world.answering = True
        until(lambda: world.events == ["up", "down", "up"])
        assert len(world.streams) == 2  # the successor took over
        (gap,) = world.gaps.values()
        assert gap.from_ns == last_ns - DISORDER_NS and gap.to_ns >= world.records.connection_events[-1].at_ns


def test_during_a_renewal_the_old_connection_has_its_heartbeats_and_new_symbols_go_to_both():
    with World(quick(heartbeat=Heartbeat(interval_s=0.1, text=lambda now_ns: "PING"))) as world:
        world.wait_up()
        world.answering = False
        world.say(RECONNECT)
        until(lambda: len(world.streams) == 2 and world.streams[1].texts)
        before = world.streams[0].texts.count("PING")
        until(lambda: world.streams[0].texts.count("PING") >= before + 3)
        world.feed.change(["C"], ["A"])
        world.answering = True
        world.overlap()
        gevent.sleep(0.3)
        assert world.events == ["up"]  # it may still bring what was sent before the successor came
        for _ in range(world.streams[0].texts.count("PING")):
            world.say(Control(ControlKind.PONG), 0)
        until(lambda: world.events == ["up", "renewed"] and world.feed.granted == {"B", "C"})


def test_before_a_successor_is_subscribed_it_is_on_record_that_both_may_bring_the_same_symbols():
    with World() as world:
        world.wait_up()
        assert BESIDE not in [event.event for event in world.records.connection_events]
        world.answering = False
        world.say(RECONNECT)
        until(lambda: len(world.streams) == 2 and world.streams[1].texts)
        assert [event.event for event in world.records.connection_events] == ["up", BESIDE]
