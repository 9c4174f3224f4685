"""One live connection of a feed: requests, heartbeats, and when it counts as up or as dead."""

from __future__ import annotations

import dataclasses

import gevent
import pytest
from gevent.event import Event

from pumpwatch.clock import NS_PER_S
from pumpwatch.feeds.rate_limits import ConnectLimit
from pumpwatch.feeds.session import ConnectAttempt, FeedContext
from pumpwatch.model import Control, ControlKind
from pumpwatch.venue import Heartbeat, Session
from tests.feeds.scripted import ScriptedVenue, World, quick, until

EARLIER_NS = 1_700_000_000 * NS_PER_S


def beating(interval_s: float, **facts: object):
    return quick(heartbeat=Heartbeat(interval_s=interval_s, text=lambda now_ns: "PING"), **facts)


def test_a_connection_without_bytes_is_silent_whatever_the_wall_clock_shows():
    with World(quick(stale_after_s=30.0)) as world:
        world.wait_up()
        world.clock.wall_s += 3600
        world.feed.change(["C"], [])  # which makes it look
        until(lambda: world.feed.granted == {"A", "B", "C"})
        gevent.sleep(0.1)
        assert world.events == ["up"]
        world.clock.monotonic_s += 31
        until(lambda: world.events == ["up", "down", "up"])
        down = next(one for one in world.records.connection_events if one.event == "down")
        assert down.reason.startswith("no data for")


def test_the_address_of_a_session_is_dialed_under_the_rules_for_redirects():
    session = Session(request=None, url=lambda body, url, connection: "ws://127.0.0.1:9000/exec", welcome=True)
    for venue, dialed in ((quick(session=session), ("ws://127.0.0.1:9000/exec", "ws://venue")), (quick(), ("ws://venue", ""))):
        with World(venue) as world:
            until(lambda: world.dialed)
        assert world.dialed[0] == dialed


class SlowVenue(ScriptedVenue):
    """Opens a connection when `gate` is set."""

    def __init__(self, venue):
        super().__init__(venue)
        self.gate = Event()

    def open(self, url, headers, configured="", avoid=""):
        self.gate.wait()
        return super().open(url, headers, configured, avoid)


def test_a_connection_that_opens_while_its_attempt_is_cancelled_is_closed():
    world = SlowVenue(quick())
    context = FeedContext(world.venue, "ws://venue", world, world, world.buffer, ConnectLimit(world.venue.limits, world.clock),
                          lambda request: b"", world.clock, world.stats, 1 << 20, world.records.extend,
                          lambda number, symbol, reason: None, lambda number, symbols, reason: None)
    attempt = ConnectAttempt(context, 0, set(), Event())
    gevent.sleep(0.01)
    world.gate.set()
    attempt.cancel()
    until(lambda: attempt.done)
    gevent.sleep(0.01)
    assert len(world.streams) == 1
    world.end()  # which finds it closed


def test_nothing_is_sent_before_the_welcome():
    session = Session(request=None, url=lambda body, url, connection: url, welcome=True)
    with World(beating(0.05, session=session)) as world:
        until(lambda: world.connections)
        gevent.sleep(0.2)
        assert not world.streams[0].texts
        world.say(Control(ControlKind.WELCOME))
        until(lambda: world.feed.up and "PING" in world.streams[0].texts)


def test_a_heartbeat_is_not_kept_waiting_by_requests_and_a_stop_neither():
    limits = dataclasses.replace(quick().limits, symbols_per_message=1, messages_per_second=3)
    with World(beating(0.1, limits=limits), symbols=[f"S{i}" for i in range(500)]) as world:
        until(lambda: world.connections)
        until(lambda: world.streams[0].texts.count("PING") >= 3)
        assert world.feed.up is False
    assert len(world.streams[0].texts) < 100  # stopped long before all were asked


def test_requests_keep_the_hourly_limit():
    limits = dataclasses.replace(quick().limits, symbols_per_message=10, subscriptions_per_hour=100)
    with World(quick(limits=limits), symbols=[f"S{i:03}" for i in range(100)]) as world:
        until(lambda: world.streams and len(world.streams[0].texts) == 8)
        gevent.sleep(0.1)
        assert len(world.streams[0].texts) == 8


def test_if_everything_is_rejected_the_connection_fails_and_no_symbol_is_left_out():
    with World(symbols=[f"S{i}" for i in range(9)]) as world:
        world.refuses = lambda symbol: True
        until(lambda: world.events.count("down") >= 2)
        assert not world.refused and "every symbol was rejected" in world.records.connection_events[0].reason
        world.refuses = lambda symbol: False
        world.wait_up()
        assert len(world.feed.granted) == 9


def test_a_whole_message_of_bad_symbols_is_left_out_at_the_second_try():
    limits = dataclasses.replace(quick().limits, symbols_per_message=3)
    bad = {"S3", "S4", "S5"}
    with World(quick(limits=limits), symbols=[f"S{i}" for i in range(6)]) as world:
        world.refuses = lambda symbol: symbol in bad
        until(lambda: world.feed.up)
        assert set(world.refused) == bad and world.events[0] == "down" and world.events.count("down") == 1


@pytest.mark.parametrize("traded", [True, False])
def test_without_acknowledgements_a_trade_shows_that_the_connection_is_up(traded):
    with World(quick(acknowledges=False, stale_after_s=20.0), down_since_ns=EARLIER_NS) as world:
        until(lambda: world.connections and world.feed.up)
        gevent.sleep(0.1)
        assert "up" not in world.events
        if traded:
            world.trade()
        else:
            world.clock.monotonic_s += 16
        until(lambda: "up" in world.events)
