"""A connection kept alive, against a scripted venue: what is renewed, what is given up, and what the ledger hears of it."""

from __future__ import annotations

import gevent
import numpy as np
import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import DISORDER_NS, Control, ControlKind
from pumpwatch.records import BESIDE
from tests.feeds.scripted import World, quick, until

RECONNECT = Control(ControlKind.RECONNECT, reason="serverShutdown")
EARLIER_NS = 1_700_000_000 * NS_PER_S


def test_everything_is_subscribed_and_a_first_connection_leaves_no_gap():
    with World(symbols=["A", "B", "C"]) as world:
        world.wait_up()
        assert world.feed.granted == {"A", "B", "C"} and world.events == ["up"] and not world.gaps


def test_a_cut_connection_comes_back_and_the_gap_reaches_from_the_last_data_to_the_grant():
    with World() as world:
        world.wait_up()
        world.ping()
        until(lambda: world.connections[0].bytes_read)
        last_ns = world.connections[0].received_at_ns
        world.streams[0].ended = True
        until(lambda: world.events == ["up", "down", "up"])
        granted_ns = world.records.connection_events[-1].at_ns
        (gap,) = world.gaps.values()
        assert gap.from_ns == last_ns - DISORDER_NS and gap.to_ns >= granted_ns + DISORDER_NS
        assert (gap.exchange, gap.market_type, gap.symbol) == ("binance", "spot", "")


def test_the_gap_of_the_run_before_ends_when_the_connection_is_up():
    with World(down_since_ns=EARLIER_NS) as world:
        world.wait_up()
        assert list(world.gaps) == [EARLIER_NS - DISORDER_NS]


def test_a_lag_of_the_venue_widens_a_gap():
    with World() as world:
        world.wait_up()
        world.buffer.lag.record(np.array([7_000_000_000]))
        last_ns = world.connections[0].received_at_ns
        world.streams[0].ended = True
        until(lambda: world.events == ["up", "down", "up"])
        assert list(world.gaps) == [last_ns - 8 * NS_PER_S]  # the lag, and the disorder of trades
        assert world.gaps[last_ns - 8 * NS_PER_S].to_ns >= world.records.connection_events[-1].at_ns + 8 * NS_PER_S


def test_while_a_connection_is_down_its_gap_reaches_past_now_and_a_stop_ends_it():
    with World() as world:
        world.wait_up()
        world.failing = True
        world.streams[0].ended = True
        until(lambda: "refused" in world.events)
        world.clock.wall_s += 3600  # an outage of an hour
        count = len(world.records.gaps)
        until(lambda: len(world.records.gaps) > count)
        assert max(gap.to_ns for gap in world.gaps.values()) > world.clock.now_ns()
        world.clock.wall_s += 3600
        stopped_ns = world.clock.now_ns()
        world.feed.stop()
        (gap,) = world.gaps.values()  # written before `stop` returns
        assert gap.to_ns >= stopped_ns + DISORDER_NS


def test_failed_connections_are_logged_once_and_tried_again():
    with World(down_since_ns=EARLIER_NS) as world:
        world.failing = True
        until(lambda: world.stats.total("connect_failures_total") >= 2)
        world.failing = False
        world.wait_up()
        assert world.events == ["refused", "up"]


def test_a_connection_that_answers_pings_and_trades_no_more_is_given_up_and_its_gap_begins_with_the_last_trade():
    with World(quick(stale_after_s=0.6)) as world:
        world.wait_up()
        world.trade_often(25)
        traded_ns = world.connections[0].source.traded_at_ns
        with gevent.Timeout(20):
            while "down" not in world.events:
                world.ping()
                gevent.sleep(0.02)
        assert "no trade for" in world.records.connection_events[-1].reason
        assert list(world.gaps) == [traded_ns - DISORDER_NS]


def test_a_connection_with_too_little_history_may_be_silent():
    with World(quick(stale_after_s=0.3)) as world:
        world.wait_up()
        world.trade_often(3)
        for _ in range(60):
            world.ping()
            gevent.sleep(0.02)
        assert world.events == ["up"]


def test_the_gap_of_a_connection_names_the_symbols_that_it_had():
    with World() as world:
        world.wait_up()
        world.failing = True
        world.streams[0].ended = True
        until(lambda: "refused" in world.events)
        world.feed.change(["C"], ["A"])
        world.failing = False
        world.wait_up()
        assert {gap.symbols for gap in world.records.gaps} == {("A", "B")} and len(world.gaps) == 1


@pytest.mark.parametrize("how", ["refused", "refused symbols", "slow"])
def test_a_first_connection_that_does_not_come_about_is_a_gap_from_the_beginning(how):
    with World(began_ns=EARLIER_NS) as world:
        world.failing = how == "refused"
        world.refuses = lambda symbol: how == "refused symbols"
        world.answering = how != "slow"
        if how == "slow":
            until(lambda: world.streams and world.streams[0].texts)
            assert not world.gaps and world.feed.trouble == ""
            world.clock.monotonic_s += 31
        until(lambda: world.gaps and world.feed.trouble)
        world.clock.monotonic_s += 20
        assert list(world.gaps) == [EARLIER_NS] and world.gaps[EARLIER_NS].symbols == ("A", "B")
        assert world.feed.down_s(world.clock.monotonic()) > 20
        world.failing, world.answering, world.refuses = False, True, lambda symbol: False
        world.wait_up()
        assert world.gaps[EARLIER_NS].to_ns > world.records.connection_events[-1].at_ns
        assert world.feed.trouble == "" and world.feed.down_s(world.clock.monotonic()) == 0
        world.streams[-1].ended = True
        until(lambda: len(world.gaps) == 2)
        world.wait_up()
        assert len(world.gaps) == 2  # what comes later is another gap


def test_symbols_that_a_running_connection_takes_up_may_come_from_another_one_too():
    with World() as world:
        world.wait_up()
        world.feed.change((), ["A"])
        assert BESIDE not in [event.event for event in world.records.connection_events]
        world.feed.change(["C"], ())
        assert world.records.connection_events[-1].event == BESIDE


def test_a_connection_that_has_lost_its_last_symbol_is_closed_until_there_is_another():
    with World() as world:
        world.wait_up()
        world.feed.change((), ("A", "B"))
        until(lambda: world.streams[0].closed)
        gevent.sleep(0.2)
        assert len(world.streams) == 1 and not world.stats.total("disconnects_total") and world.events == ["up", "down"]
        world.feed.change(("C",), ())
        until(lambda: world.feed.granted == {"C"})
        world.wait_up()
        assert len(world.streams) == 2 and not world.gaps


def test_a_connection_that_cannot_be_made_is_given_up_with_its_last_symbol():
    with World() as world:
        world.failing = True
        until(lambda: "refused" in world.events)
        world.feed.change((), ("A", "B"))
        gevent.sleep(0.1)
        failures = world.stats.total("connect_failures_total")
        world.failing = False
        gevent.sleep(1.5)
        assert not world.streams and world.stats.total("connect_failures_total") == failures


def test_a_connection_that_is_lost_while_its_trades_are_late_leaves_a_gap_that_begins_with_the_last_of_them():
    with World() as world:
        world.wait_up()
        session, late_ns = world.feed._session, 40 * NS_PER_S
        world.ping()
        until(lambda: session.connection.bytes_read)
        session.receive_trades(session.connection.received_at_ns, session.connection.received_at_ns - late_ns)
        world.streams[0].ended = True
        until(lambda: world.events == ["up", "down", "up"])
        assert list(world.gaps) == [session.connection.received_at_ns - late_ns - DISORDER_NS]


def test_how_late_a_lost_connection_was_is_known_once_its_last_frames_are_parsed(monkeypatch):
    with World() as world:
        world.wait_up()
        session, parsing = world.feed._session, True
        monkeypatch.setattr(world.buffer, "holds", lambda source: parsing and source is session)
        world.streams[0].ended = True
        until(lambda: session.connection.closed)
        gevent.sleep(0.05)
        assert world.events == ["up"] and not world.gaps
        session.receive_trades(session.connection.received_at_ns, session.connection.received_at_ns - 40 * NS_PER_S)
        parsing = False
        until(lambda: world.events == ["up", "down", "up"])
        assert list(world.gaps) == [session.connection.received_at_ns - 41 * NS_PER_S]
